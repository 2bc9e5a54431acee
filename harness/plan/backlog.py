"""Which runs of a plan are finished, outdated or still to do. Reads records; starts nothing.

The one rule: `smol run`, `smol show` and `smol campaign` all ask `sort`. The first knows the data
that it has prepared; the others take what the records say of it (`Recorded`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.code.provenance import software_set
from harness.config import DataConfig, as_before, canonical
from harness.plan.runs import Plan, Run
from harness.records.schema import DataUse, Record

UNPREPARED = "unprepared"
"""In the place of a digest of data that no record was made of."""


Manifests = Callable[[Run], str]
"""The digest of the data that a run would be made of."""


@dataclass(frozen=True)
class Current:
    """What a finished run must agree with to count as finished."""

    source_digest: str
    software: tuple[str, ...]
    manifest_digest: Manifests
    behaviour_digest: Callable[[], str | None] = lambda: None
    """Asked only where a record of other source may behave the same."""


class Recorded:
    """The data that records were made of, by its specification: for a plan that is made before
    any data is prepared. Where several records are of one specification the newest counts."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._uses = {
            canonical(as_before(record.config["data"], "data")): record.data
            for record in sorted(records, key=lambda record: record.created)
            if record.data is not None
        }

    def tokenizer_digest(self, data: DataConfig) -> str:
        """As `plan.make` asks for it."""
        used = self._used(data)
        return used.tokenizer_digest if used else UNPREPARED

    def manifest_digest(self, run: Run) -> str:
        """As `Current` asks for it."""
        used = self._used(run.config.data)
        return used.manifest_digest if used else UNPREPARED

    def _used(self, data: DataConfig) -> DataUse | None:
        return self._uses.get(canonical(as_before(data, "data")))


@dataclass
class Backlog:
    """The runs of a plan by what is to be done with them."""

    finished: list[Run] = field(default_factory=list)
    outdated: list[tuple[Run, str]] = field(default_factory=list)
    """With what has changed since."""
    pending: list[Run] = field(default_factory=list)

    @property
    def missing(self) -> list[Run]:
        """All that is not finished, as `smol run --fresh` has it: outdated ones first."""
        return [*(run for run, _ in self.outdated), *self.pending]


def sort(plan: Plan, records: Iterable[Record], current: Current) -> Backlog:
    """Finished: an `ok` record of the same key, code, data and software. Outdated: one of the
    same key that differs in one of these. Pending: the rest, interrupted and failed ones too."""
    by_key: dict[str, list[Record]] = {}
    for record in records:
        if record.status == "ok" and record.recipe == plan.entry.name:
            by_key.setdefault(record.key, []).append(record)
    backlog = Backlog()
    for run in plan.runs:
        changes = [_changes(record, run, current) for record in by_key.get(run.key, [])]
        if not changes:
            backlog.pending.append(run)
        elif "" in changes:
            backlog.finished.append(run)
        else:
            backlog.outdated.append((run, changes[-1]))
    return backlog


def _changes(record: Record, run: Run, current: Current) -> str:
    changed = []
    if not _same_code(record, current):
        changed.append(f"code {record.code.source_digest[:8]} -> {current.source_digest[:8]}")
    if software_set(record.software) != current.software:
        old, new = " ".join(software_set(record.software)), " ".join(current.software)
        changed.append(f"software (python torch numpy) {old} -> {new}")
    if record.timing and record.timing.launch and record.timing.launch.contaminated:
        changed.append(f"contaminated ({record.timing.launch.contaminated})")
    manifest = current.manifest_digest(run)
    if record.data is None or record.data.manifest_digest != manifest:
        was = record.data.manifest_digest[:8] if record.data else "none"
        changed.append(f"data {was} -> {manifest[:8]}")
    return ", ".join(changed)


def _same_code(record: Record, current: Current) -> bool:
    """Whether a record's losses are this code's. Its seconds are only those of the same source."""
    code = record.code
    if code.source_digest == current.source_digest:
        return True
    timed = record.timing is not None and record.timing.timed
    if timed or code.behaviour_digest is None:
        return False
    return code.behaviour_digest == current.behaviour_digest()


def whole_blocks(todo: Iterable[Run], plan: Plan) -> list[Run]:
    """`todo` in the plan's order; of a timing recipe, all launches of each block that is touched:
    only launches of one campaign, made in turn, may be set against each other."""
    chosen = list(todo)
    keys, blocks = {run.key for run in chosen}, {run.seed for run in chosen}
    if plan.recipe.timing is None:
        return [run for run in plan.runs if run.key in keys]
    return [run for run in plan.runs if run.seed in blocks]


def with_parents(
    todo: Iterable[Run], plan: Plan, can_start: Callable[[Run], bool]
) -> tuple[list[Run], list[Run]]:
    """`todo` in the plan's order, with those of its ancestors that must run (again) because what
    they hand over is not there: (all, those added)."""
    chosen = {run.key for run in todo}
    added: list[Run] = []
    for run in reversed(plan.runs):  # children before parents: a grandparent may be missing too
        needed = any(
            child.parent == run.key and child.key in chosen and not can_start(child)
            for child in plan.runs
        )
        if needed and run.key not in chosen:
            chosen.add(run.key)
            added.insert(0, run)
    return [run for run in plan.runs if run.key in chosen], added
