"""Which runs of a plan are finished, outdated or still to do. Reads records; starts nothing.

The one rule: `smol run`, `smol show` and `smol campaign` all ask `sort`. The first knows the data
that it has prepared; the others take what the records say of it (`query.Recorded`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.evidence.query import Current
from harness.evidence.sequential import seeds_asked_for
from harness.plan.runs import Plan, Run
from harness.records.schema import Record


@dataclass
class Backlog:
    """The runs of a plan by what is to be done with them."""

    finished: list[Run] = field(default_factory=list)
    outdated: list[tuple[Run, str]] = field(default_factory=list)
    """Runs that were finished by other code, each with what has changed since."""
    pending: list[Run] = field(default_factory=list)
    unasked: list[Run] = field(default_factory=list)
    """The runs of seeds that a sequential design does not ask for: not yet, or not any more."""

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
        found = by_key.get(run.key, [])
        changes = [", ".join(current.changes(record, run.config.data)) for record in found]
        if not changes:
            backlog.pending.append(run)
        elif "" in changes:
            backlog.finished.append(run)
        else:
            backlog.outdated.append((run, changes[-1]))
    looks = plan.entry.looks.get(plan.scale, ())
    return _next_seeds(backlog, plan, looks, by_key) if looks else backlog


def _next_seeds(
    backlog: Backlog, plan: Plan, looks: Sequence[float], by_key: Mapping[str, Sequence[Record]]
) -> Backlog:
    """What is missing of the seeds that the design asks for now; the others are set aside."""
    primary, first = plan.entry.primary, plan.entry.first_seed
    finished = [max(by_key[run.key], key=lambda r: r.created) for run in backlog.finished]
    asked = seeds_asked_for(primary.pairs, primary.at, first, looks, finished)
    late = {run.key for run in backlog.missing if run.seed >= first + asked}
    return Backlog(
        finished=backlog.finished,
        outdated=[(run, why) for run, why in backlog.outdated if run.key not in late],
        pending=[run for run in backlog.pending if run.key not in late],
        unasked=[run for run in backlog.missing if run.key in late],
    )


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
