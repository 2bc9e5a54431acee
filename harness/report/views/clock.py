"""The view `clock`: arms at equal wall clock and at equal dollars, where the records allow it.

Arms are compared only where a learning rate has decayed to its end, so what is needed is endpoints
of both arms at equal seconds, of timed runs on a GPU. Everything else is "not comparable", and why.
One section is one device: equal dollars are equal seconds there.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.evidence.differences import bars, differences
from harness.evidence.endpoints import Reached
from harness.evidence.machines import kinds
from harness.evidence.sections import Section
from harness.machine import devices
from harness.records.store import path_of
from harness.report.columns import Block, Found, Measure, estimated, given, tabulate, text
from harness.report.table import Cell, Table, plain
from harness.report.views.difference import judged
from harness.report.views.loss import LOSS_DIGITS
from harness.stats.inference import UNASKED, Estimate, judge, paired_difference

BUDGETS = {"wall-clock": "seconds of updates", "dollars": "rent"}
EQUAL = 0.02
"""Relative: seconds that differ by less count as equal."""
ON_A_CPU = "not comparable: the seconds of a CPU say nothing of a GPU, and nobody rents them out"
NO_HORIZON = "not comparable: no horizon at which both had taken as long"
MACHINES = "not comparable: the arms ran on different kinds of machine"
NOT_TIMED = "not comparable: not timed, the runs shared the machine or were not interleaved"


def tables(section: Section) -> list[Table]:
    """A row a budget on a CPU; on a GPU a row an arm and budget. None below two arms."""
    pairs = list(dict.fromkeys((one.against, one.arm) for one in differences(section)))
    if not pairs:
        return []
    rented = devices.of(section.device).rented
    blocks: list[Block[Any]] = []
    for budget, what in BUDGETS.items():
        absent = f"at equal {what}"
        if not rented:
            blocks.append(Block([(budget, section)], [_on_a_cpu(what)], absent))
            continue
        for one in _judged(section, pairs):
            row = [(f"{one.arm}@{budget}", one)]
            # Where there is no number, no column of numbers applies.
            known = _measures(section, what)
            blocks.append(
                Block(row, known if one.value is not None else [known[0], known[-1]], absent)
            )
    return [
        tabulate(
            f"{section.name}.clock",
            "At equal wall clock and at equal dollars: a difference only between endpoints of "
            f"timed runs whose seconds agree to {EQUAL:.0%}, under the bars of every comparison.",
            "arm@budget",
            _measures(section, ""),
            [],
            *blocks,
            command=section.group.command,
        )
    ]


def _on_a_cpu(what: str) -> Measure[Section]:
    def values(section: Section) -> Found:
        return [(ON_A_CPU, [path_of(record) for record in section.group.records])]

    return Measure("verdict", f"verdict at equal {what}", values, text("none"))


@dataclass(frozen=True)
class _Pair:
    """An arm and its reference, and their endpoints at equal seconds by seed."""

    against: str
    arm: str
    ends: tuple[tuple[Reached, Reached], ...] = ()
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


def _measures(section: Section, what: str) -> list[Measure[_Pair]]:
    def both(one: _Pair) -> list[str]:
        arms = (one.against, one.arm)
        return [path_of(record) for record in section.group.records if record.arm in arms]

    def behind(one: _Pair) -> list[str]:
        ends = [end.path for pair in one.ends for end in pair]
        return both(one) if one.value is None else ends

    def verdict(one: _Pair) -> Cell:
        how = "none" if one.value is None else judged(section)
        return plain(one.said, behind(one), f"verdict at equal {what}", how)

    return [
        Measure(
            "reference", "the reference arm", lambda one: [(one.against, both(one))],
            text("declared by the recipe"), left=True,
        ),
        Measure(
            "seconds", "seconds of updates",
            lambda one: [
                (statistics.fmean(e.seconds for pair in one.ends for e in pair), behind(one))
            ],
            text("mean over both arms", form="{:,.0f}"), "s", n=lambda one: len(one.ends),
        ),
        Measure(
            "difference",
            lambda one: f"validation loss of {one.arm} less {one.against}, nats a token",
            lambda one: [(one.value, behind(one))],
            estimated("pairs", digits=LOSS_DIGITS, signed=True), "nats/token",
        ),
        given("verdict", verdict, left=True),
    ]  # fmt: skip


def _equal(
    section: Section, against: str, arm: str
) -> tuple[dict[int, Reached], dict[int, Reached]] | None:
    """The endpoints, by seed, of two horizons that took both arms equally long; the longest."""
    horizons = section.group.question.horizons
    best: tuple[float, dict[int, Reached], dict[int, Reached]] | None = None
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
