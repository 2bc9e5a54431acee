"""The view `clock`: arms at equal wall clock and at equal dollars, where the records allow it.

Arms are compared only where a learning rate has decayed to its end, so what is needed is endpoints
of both arms at equal seconds, of timed runs on a GPU. Everything else is "not comparable", and why.
One section is one device: equal dollars are equal seconds there. May not import torch.
"""

from __future__ import annotations

import statistics

from harness.evidence.endpoints import Endpoint
from harness.evidence.sections import Section
from harness.machine import devices
from harness.records.store import path_of
from harness.report.comparison import differences
from harness.report.losses import LOSS_DIGITS
from harness.report.tables import ABSENT, Cell, Column, Row, Table, estimate, plain
from harness.stats.inference import MIN_PAIRS, judge, paired_difference

BUDGETS = {"wall-clock": "seconds of updates", "dollars": "rent"}
EQUAL = 0.02
"""Relative: seconds that differ by less count as equal."""
ON_A_CPU = "not comparable: the seconds of a CPU say nothing of a GPU, and nobody rents them out"
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
                Row(f"{arm}@{budget}", _cells(section, against, arm, what))
                for against, arm in pairs
            ]
    return Table(
        name=f"{section.name}.clock",
        caption="At equal wall clock and at equal dollars: a difference only between endpoints of "
        f"timed runs whose seconds agree to {EQUAL:.0%}; exploratory.",
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


def _cells(section: Section, against: str, arm: str, what: str) -> tuple[Cell, ...]:
    group = section.group
    of_both = [record for record in group.records if record.arm in (against, arm)]
    paths = [path_of(record) for record in of_both]
    reference = plain(against, paths, "the reference arm", "declared by the recipe")
    if not all(record.timing and record.timing.timed for record in of_both):
        verdict = plain(NOT_TIMED, paths, f"verdict at equal {what}", "none")
        return (reference, *_absent(2, what), verdict)
    found = _equal(section, against, arm)
    if found is None:
        text = "not comparable: no horizon at which both had taken as long"
        verdict = plain(text, paths, f"verdict at equal {what}", "none")
        return (reference, *_absent(2, what), verdict)
    left, right = found
    pairs = [(left[seed], right[seed]) for seed in sorted(left.keys() & right.keys())]
    value = paired_difference([a.val_loss for a, _ in pairs], [b.val_loss for _, b in pairs])
    used = [end.path for pair in pairs for end in pair]
    text = judge({arm: value})[arm].text if len(pairs) >= MIN_PAIRS else "not comparable: few pairs"
    seconds = statistics.fmean(end.seconds for pair in pairs for end in pair)
    return (
        reference,
        plain(f"{seconds:,.0f}", used, "seconds of updates", "mean over both arms", len(pairs)),
        estimate(
            value, used, f"validation loss of {arm} less {against}, nats a token", "pairs",
            digits=LOSS_DIGITS, signed=True,
        ),
        plain(text, used, f"verdict at equal {what}", "paired t test at 5 %, exploratory"),
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
