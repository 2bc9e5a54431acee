"""The view `runs`: how runs ended, which failed and what became of them, and what is not shown.

Failed, diverged, out-of-memory and killed runs are rows: an arm that often fails is not the
equal of one that does not. May not import torch.
"""

from __future__ import annotations

from harness.evidence.sections import Group, Section
from harness.records.store import path_of
from harness.report.tables import Cell, Column, Row, Table, one_line, plain

STATUSES = ("ok", "diverged", "oom", "killed", "failed")
ERROR_LENGTH = 120


def statuses(section: Section) -> Table:
    """A row an arm: seeds that reached every horizon, and runs by how they ended."""
    group, question = section.group, section.group.question
    rows = []
    for arm in question.arms:
        of_arm = [record for record in group.records if record.arm == arm]
        # That nothing was run of an arm is known from what the newest record's recipe asked for.
        paths = tuple(path_of(record) for record in of_arm or [group.newest])
        reached = [{end.seed for end in group.reached(arm, h)} for h in question.horizons]
        finished = len(set.intersection(*reached)) if reached else 0
        cells = [
            Cell(
                f"{finished} of {question.seeds}", paths, "seeds that reached every horizon",
                "count, of the number that the recipe froze", len(of_arm),
            )
        ]  # fmt: skip
        for status in STATUSES:
            count = sum(record.status == status for record in of_arm)
            metric = f"runs that ended '{status}'"
            cells.append(Cell(str(count), paths, metric, "count", len(of_arm)))
        rows.append(Row(arm, tuple(cells)))
    return Table(
        name=f"{section.name}.runs",
        caption=(
            "How the runs ended: one run is one stage (stem or decay) of one seed, by its newest "
            "attempt, a finished one before any other."
        ),
        corner="arm",
        columns=(Column("finished", "seeds"), *(Column(status) for status in STATUSES)),
        rows=tuple(rows),
        command=group.command,
    )


def failures(section: Section) -> Table | None:
    """A row for each attempt that did not end `ok`; None where there is none."""
    group = section.group
    used = {(record.arm, record.key): record for record in group.records}
    rows = []
    for record in group.attempts:
        if record.status == "ok":
            continue
        where, newest = path_of(record), used[record.arm, record.key]
        last = newest == record
        after = "this is the newest" if last else f"attempt {newest.attempt}: {newest.status}"
        error = one_line(record.error or "no reason was recorded")
        if len(error) > ERROR_LENGTH:
            error = error[: ERROR_LENGTH - 1] + "…"
        name = f"{record.arm}/{record.seed}/{record.stage}.{record.attempt}"
        cells = (
            plain(record.status, [where], "how the run ended", "the record's status"),
            plain(
                f"{record.updates_done} of {record.last_update}", [where],
                "updates made, of those planned, counted from the stem's start", "the record's",
            ),
            plain(error, [where], "the error, in one line", "the record's"),
            plain(after, [where, path_of(newest)], "what became of the run", "its attempts", 1),
        )  # fmt: skip
        rows.append(Row(name + (f".r{record.repeat}" if record.repeat else ""), cells))
    if not rows:
        return None
    return Table(
        name=f"{section.name}.failed",
        caption="Every attempt that did not end well. None of them enters a mean.",
        corner="arm/seed/stage.attempt",
        columns=(
            Column("status", left=True),
            Column("updates"),
            Column("error", left=True),
            Column("afterwards", left=True),
        ),
        rows=tuple(_distinct(rows)),
        command=group.command,
    )


def _distinct(rows: list[Row]) -> list[Row]:
    """The same rows, names numbered where two runs share one (another horizon's budget)."""
    counts: dict[str, int] = {}
    named = []
    for row in rows:
        counts[row.name] = counts.get(row.name, 0) + 1
        suffix = f"-{counts[row.name]}" if counts[row.name] > 1 else ""
        named.append(Row(row.name + suffix, row.cells))
    return named


def others(section: Section) -> Table | None:
    """A row for each group of runs that no table uses, and why; None where there is none."""
    if not section.others:
        return None
    rows = []
    for number, group in enumerate(section.others, start=1):
        paths = [path_of(record) for record in group.records]
        rows.append(
            Row(
                f"other-{number}",
                (
                    plain(
                        group.code[:8], paths, "behaviour or source digest, first 8 digits",
                        "same in all",
                    ),
                    plain(group.created[:10], paths, "day of the newest record, UTC", "latest"),
                    plain(str(len(paths)), paths, "runs", "count"),
                    plain(
                        f"{group.done} of {group.expected}", paths,
                        "endpoints (arm, seed, horizon), of those that the recipe froze", "count",
                    ),
                    plain(
                        "; ".join(differs(section.group, group)), paths,
                        "what sets these runs apart from those shown", "comparison of records",
                    ),
                ),
            )
        )  # fmt: skip
    return Table(
        name=f"{section.name}.others",
        caption=(
            f"Runs that no table above uses; those shown have the code digest "
            f"`{section.group.code[:8]}` (of behaviour where it is known, else of source). Groups "
            "are never mixed."
        ),
        corner="group",
        columns=(
            Column("code_digest", left=True),
            Column("newest", left=True),
            Column("runs"),
            Column("endpoints"),
            Column("differs", left=True),
        ),
        rows=tuple(rows),
    )


def differs(shown: Group, other: Group) -> list[str]:
    """What sets another group apart from the one shown."""
    found = []
    if other.code != shown.code:
        found.append("other code")
    if other.software != shown.software:
        found.append(f"other software ({other.software} against {shown.software})")
    if other.world_size != shown.world_size:
        found.append(f"world size {other.world_size} against {shown.world_size}")
    if other.manifest != shown.manifest:
        found.append("other data")
    gone = sorted({r.arm for r in other.records} - set(shown.question.arms))
    if gone:
        found.append(f"arms no longer in the recipe ({', '.join(gone)})")
    return found or ["other configuration"]
