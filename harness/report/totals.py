"""The data of the figure `throughput`: a run's seconds against its updates, a line an arm.

Pure: records in, plain numbers out, so that a figure's data can be checked without drawing it.
May not import torch, seaborn or matplotlib.
"""

from __future__ import annotations

from harness.config import Frozen, digest
from harness.evidence import launches
from harness.evidence.sections import Section


class Point(Frozen):
    """One launch."""

    arm: str
    updates: int
    seconds: float
    counted: bool
    """False where it was contaminated or not timed."""


class Fitted(Frozen):
    """An arm's line."""

    arm: str
    fixed: float
    """Seconds."""
    steady: float
    """Seconds an update."""


class Crossing(Frozen):
    """Where an arm has earned back what it costs more at first."""

    arm: str
    updates: float
    interval: tuple[float, float]


class Totals(Frozen):
    """All that the figure shows."""

    title: str
    arms: tuple[str, ...]
    points: tuple[Point, ...]
    lines: tuple[Fitted, ...]
    crossings: tuple[Crossing, ...]

    @property
    def digest(self) -> str:
        """Of the data drawn."""
        return digest(self)


def totals(section: Section) -> Totals | None:
    """The figure's data; None where no launch ended well."""
    question = section.group.question
    arms = [launches.arm(section, name) for name in question.arms]
    points = [
        Point(
            arm=one.name, updates=run.updates, seconds=run.seconds, counted=run.fault is None
        )
        for one in arms
        for run in one.made
    ]  # fmt: skip
    if not points:
        return None
    crossings = []
    for name, versus in launches.compared(section).items():
        found = versus.crossing
        if found is not None and found.updates is not None and found.interval is not None:
            crossings.append(Crossing(arm=name, updates=found.updates, interval=found.interval))
    return Totals(
        title=section.title,
        arms=question.arms,
        points=tuple(points),
        lines=tuple(
            Fitted(arm=one.name, fixed=one.line.fixed, steady=one.line.steady)
            for one in arms
            if one.line is not None
        ),
        crossings=tuple(crossings),
    )
