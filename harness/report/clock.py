"""The view `clock`: arms at equal wall clock and at equal dollars, where the records allow it.

Arms are compared only where a learning rate has decayed to its end, so what is needed is endpoints
of both arms at equal seconds, of timed runs on a GPU. Everything else is "not comparable", and why.
One section is one device: equal dollars are equal seconds there. May not import torch.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from harness.evidence.endpoints import Endpoint
from harness.evidence.machines import kinds
from harness.evidence.sections import Section
from harness.machine import devices
from harness.records.store import path_of
from harness.report.comparison import bars, differences, judged
from harness.report.losses import LOSS_DIGITS
from harness.report.tables import ABSENT, Cell, Column, Row, Table, estimate, plain
from harness.stats.inference import UNASKED, Estimate, judge, paired_difference

BUDGETS = {"wall-clock": "seconds of updates", "dollars": "rent"}
EQUAL = 0.02
"""Relative: seconds that differ by less count as equal."""
ON_A_CPU = "not comparable: the seconds of a CPU say nothing of a GPU, and nobody rents them out"
NO_HORIZON = "not comparable: no horizon at which both had taken as long"
MACHINES = "not comparable: the arms ran on different kinds of machine"
NOT_TIMED = "not comparable: not timed, the runs shared the machine or were not interleaved"


def clock(section: Section) -> Table | None:
    """A row a budget on a CPU; on a GPU a row an arm and budget. None below two arms."""
    pairs = list(dict.fromkeys((one.against, one.arm) for one in differences(section)))
    if not pairs:
        return None
    rows = []
    for budget, what in BUDGETS.items():
        if not devices.of(section.device).rented:
            paths = [path_of(record) for record in section.group.records]
            verdict = plain(ON_A_CPU, paths, f"verdict at equal {what}", "none")
            rows.append(Row(budget, (*_absent(3, what), verdict)))
        else:
            rows += [
                Row(f"{one.arm}@{budget}", _cells(section, one, what))
                for one in _judged(section, pairs)
            ]
    return Table(
        name=f"{section.name}.clock",
        caption="At equal wall clock and at equal dollars: a difference only between endpoints of "
        f"timed runs whose seconds agree to {EQUAL:.0%}, under the bars of every comparison.",
        corner="arm@budget",
        columns=(
            Column("reference", left=True),
            Column("seconds", "s"),
            Column("difference", "nats/token"),
            Column("verdict", left=True),
        ),
        rows=tuple(rows),
        command=section.group.command,
    )


def _absent(count: int, what: str) -> tuple[Cell, ...]:
    return (Cell(ABSENT, (), f"at equal {what}", "none", 0),) * count


@dataclass(frozen=True)
class _Pair:
    """An arm and its reference, and their endpoints at equal seconds by seed."""

    against: str
    arm: str
    ends: tuple[tuple[Endpoint, Endpoint], ...] = ()
    """(reference's, arm's), a seed each; none where they may not be set against each other."""
    reached: Mapping[str, Collection[int]] = field(default_factory=dict)
    """Reference and arm -> seeds with an endpoint there."""
    value: Estimate | None = None
    said: str = ""
    """The verdict, or why there is none."""


def _judged(section: Section, pairs: Sequence[tuple[str, str]]) -> list[_Pair]:
    """The question's pairs are one family here too, under the bars of the question itself; what
    it does not ask has no verdict."""
    found = {f"{against} {arm}": _pair(section, against, arm) for against, arm in pairs}
    asked = section.group.question.pairs
    family = {
        name: one.value
        for name, one in found.items()
        if one.value is not None and (one.against, one.arm) in asked
    }
    barred = {
        name: "; ".join(reasons)
        for name in family
        if (reasons := bars(section, found[name].reached))
    }
    for name, verdict in judge(family, barred=barred).items():
        # What is barred shows its reason and no number.
        value = family[name].at(verdict.level) if name not in barred else None
        found[name] = dataclasses.replace(found[name], value=value, said=verdict.text)
    return list(found.values())


def _pair(section: Section, against: str, arm: str) -> _Pair:
    of_both = [record for record in section.group.records if record.arm in (against, arm)]
    if not all(record.timing and record.timing.timed for record in of_both):
        return _Pair(against, arm, said=NOT_TIMED)
    if len(kinds(of_both)) > 1:
        return _Pair(against, arm, said=MACHINES)
    equal = _equal(section, against, arm)
    if equal is None:
        return _Pair(against, arm, said=NO_HORIZON)
    left, right = equal
    ends = tuple((left[seed], right[seed]) for seed in sorted(left.keys() & right.keys()))
    value = paired_difference([a.val_loss for a, _ in ends], [b.val_loss for _, b in ends])
    return _Pair(against, arm, ends, {against: left.keys(), arm: right.keys()}, value, UNASKED)


def _cells(section: Section, one: _Pair, what: str) -> tuple[Cell, ...]:
    of_both = [r for r in section.group.records if r.arm in (one.against, one.arm)]
    paths = [path_of(record) for record in of_both]
    reference = plain(one.against, paths, "the reference arm", "declared by the recipe")
    if one.value is None:
        verdict = plain(one.said, paths, f"verdict at equal {what}", "none")
        return (reference, *_absent(2, what), verdict)
    used = [end.path for pair in one.ends for end in pair]
    seconds = statistics.fmean(end.seconds for pair in one.ends for end in pair)
    return (
        reference,
        plain(f"{seconds:,.0f}", used, "seconds of updates", "mean over both arms", len(one.ends)),
        estimate(
            one.value, used,
            f"validation loss of {one.arm} less {one.against}, nats a token", "pairs",
            digits=LOSS_DIGITS, signed=True,
        ),
        plain(one.said, used, f"verdict at equal {what}", judged(section)),
    )  # fmt: skip


def _equal(
    section: Section, against: str, arm: str
) -> tuple[dict[int, Endpoint], dict[int, Endpoint]] | None:
    """The endpoints, by seed, of two horizons that took both arms equally long; the longest."""
    horizons = section.group.question.horizons
    best: tuple[float, dict[int, Endpoint], dict[int, Endpoint]] | None = None
    for ours in horizons:
        for theirs in horizons:
            left = {end.seed: end for end in section.group.reached(against, theirs)}
            right = {end.seed: end for end in section.group.reached(arm, ours)}
            if not left.keys() & right.keys():
                continue
            a, b = (statistics.fmean(e.seconds for e in one.values()) for one in (left, right))
            if abs(a / b - 1.0) <= EQUAL and (best is None or a > best[0]):
                best = (a, left, right)
    return None if best is None else best[1:]
