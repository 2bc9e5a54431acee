"""The view `runs`: how runs ended, which failed and what became of them, and what is not shown.

Failed, diverged, out-of-memory and killed runs are rows: an arm that often fails is not the
equal of one that does not.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.evidence.differences import differs
from harness.evidence.sections import Group, Section
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.columns import Found, Measure, of_records, tabulate, text
from harness.report.table import Table, one_line

STATUSES = ("ok", "diverged", "oom", "killed", "failed")
ERROR_LENGTH = 120


def tables(section: Section) -> list[Table]:
    """How runs ended; the failed ones and the groups that no table uses, where there are any."""
    found = [_statuses(section), _failures(section), _others(section)]
    return [table for table in found if table.rows]


def _statuses(section: Section) -> Table:
    """A row an arm: seeds that reached every horizon, and runs by how they ended."""
    group, question = section.group, section.group.question

    def of_arm(arm: str) -> list[Record]:
        return [record for record in group.records if record.arm == arm]

    def behind(arm: str) -> list[str]:
        # That nothing was run of an arm is known from what the newest record's recipe asked for.
        return [path_of(record) for record in of_arm(arm) or [group.newest]]

    def finished(arm: str) -> int:
        reached = [{end.seed for end in group.reached(arm, h)} for h in question.horizons]
        return len(set.intersection(*reached)) if reached else 0

    def ended(status: str) -> Measure[str]:
        return Measure(
            status, f"runs that ended '{status}'",
            lambda arm: [(sum(r.status == status for r in of_arm(arm)), behind(arm))],
            text("count"), n=lambda arm: len(of_arm(arm)),
        )  # fmt: skip

    return tabulate(
        f"{section.name}.runs",
        "How the runs ended: one run is one stage (stem or decay) of one seed, by its newest "
        "attempt, a finished one before any other.",
        "arm",
        [
            Measure(
                "finished",
                "seeds that reached every horizon",
                lambda arm: [(f"{finished(arm)} of {question.seeds}", behind(arm))],
                text("count, of the number that the recipe froze"),
                "seeds",
                n=lambda arm: len(of_arm(arm)),
            ),
            *map(ended, STATUSES),
        ],
        [(arm, arm) for arm in question.arms],
        command=group.command,
    )


Attempt = tuple[Record, Record]
"""One that did not end well, and the attempt of the same run that is used instead."""


def _failures(section: Section) -> Table:
    """A row for each attempt that did not end `ok`."""
    group = section.group
    used = {(record.arm, record.key): record for record in group.records}
    failed = [(r, used[r.arm, r.key]) for r in group.attempts if r.status != "ok"]
    return tabulate(
        f"{section.name}.failed",
        "Every attempt that did not end well. None of them enters a mean.",
        "arm/seed/stage.attempt",
        FAILED,
        _distinct((_name(record), (record, newest)) for record, newest in failed),
        command=group.command,
    )


def _name(record: Record) -> str:
    name = f"{record.arm}/{record.seed}/{record.stage}.{record.attempt}"
    return name + (f".r{record.repeat}" if record.repeat else "")


def _distinct(rows: Iterable[tuple[str, Attempt]]) -> list[tuple[str, Attempt]]:
    """The same rows, names numbered where two runs share one (another horizon's budget)."""
    counts: dict[str, int] = {}
    named = []
    for name, row in rows:
        counts[name] = counts.get(name, 0) + 1
        named.append((name + (f"-{counts[name]}" if counts[name] > 1 else ""), row))
    return named


def _error(record: Record) -> str:
    error = one_line(record.error or "no reason was recorded")
    return error if len(error) <= ERROR_LENGTH else error[: ERROR_LENGTH - 1] + "…"


def _afterwards(row: Attempt) -> Found:
    record, newest = row
    last = newest == record
    after = "this is the newest" if last else f"attempt {newest.attempt}: {newest.status}"
    return [(after, [path_of(record), path_of(newest)])]


FAILED: tuple[Measure[Attempt], ...] = (
    Measure(
        "status", "how the run ended", lambda row: of_records(row[:1], lambda r: r.status),
        text("the record's status"), left=True,
    ),
    Measure(
        "updates", "updates made, of those planned, counted from the stem's start",
        lambda row: of_records(row[:1], lambda r: f"{r.updates_done} of {r.last_update}"),
        text("the record's"),
    ),
    Measure(
        "error", "the error, in one line", lambda row: of_records(row[:1], _error),
        text("the record's"), left=True,
    ),
    Measure(
        "afterwards", "what became of the run", _afterwards, text("its attempts"), left=True,
        n=lambda _: 1,
    ),
)  # fmt: skip


def _others(section: Section) -> Table:
    """A row for each group of runs that no table uses, and why."""
    return tabulate(
        f"{section.name}.others",
        f"Runs that no table above uses; those shown have the code digest "
        f"`{section.group.code[:8]}` (of behaviour where it is known, else of source). Groups "
        "are never mixed.",
        "group",
        _of_groups(section.group),
        [(f"other-{number}", group) for number, group in enumerate(section.others, start=1)],
    )


def _of_groups(shown: Group) -> list[Measure[Group]]:
    def paths(group: Group) -> list[str]:
        return [path_of(record) for record in group.records]

    return [
        Measure(
            "code_digest", "behaviour or source digest, first 8 digits",
            lambda group: [(group.code[:8], paths(group))], text("same in all"), left=True,
        ),
        Measure(
            "newest", "day of the newest record, UTC",
            lambda group: [(group.created[:10], paths(group))], text("latest"), left=True,
        ),
        Measure(
            "runs", "runs", lambda group: [(len(group.records), paths(group))], text("count")
        ),
        Measure(
            "endpoints", "endpoints (arm, seed, horizon), of those that the recipe froze",
            lambda group: [(f"{group.done} of {group.expected}", paths(group))], text("count"),
        ),
        Measure(
            "differs", "what sets these runs apart from those shown",
            lambda group: [("; ".join(differs(shown, group)), paths(group))],
            text("comparison of records"), left=True,
        ),
    ]  # fmt: skip
