"""Searches over learning rates at a ladder's rungs, as `harness.stats.transfer` takes them. Pure:
records in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.evidence.rungs import Climbed
from harness.evidence.searches import Point, Search, searches
from harness.evidence.sections import sections
from harness.optim.tuning import own_rate
from harness.records.schema import Record
from harness.stats.transfer import Searched, Transfer, transfer


@dataclass(frozen=True)
class Carried:
    """One arm's searches over the rungs, and what they say."""

    arm: str
    scales: tuple[str, ...]
    sizes: tuple[Searched, ...]
    """A rung each, the smallest first."""
    law: Transfer | None
    why: str
    """Why there is no law."""
    used: tuple[float | None, ...]
    """The rate that the ladder was run with at each of these rungs; None where it was not run."""
    paths: tuple[str, ...]

    @property
    def loses(self) -> list[str]:
        """Where the ladder's own rate loses more than two seeds differ by, or the search does not
        say what it loses: a difference between arms there may be one of settings."""
        found = []
        for scale, size, used in zip(self.scales, self.sizes, self.used, strict=True):
            if used is None:
                continue
            if not size.inside:
                best = size.rates[size.best]
                found.append(f"{self.arm}'s best rate at {scale}, {best:.3g}, is a search's edge")
            elif (cost := size.near(used) - size.optimum[1]) > size.noise:
                found.append(
                    f"{self.arm}'s rate at {scale}, {used:.3g}, loses {cost:.3f} nats against "
                    f"{size.optimum[0]:.3g}"
                )
        return found


def unfair(carried: Sequence[Carried], search: str | None, ladder: Sequence[str]) -> str | None:
    """Why a ladder compares settings rather than arms; None where a search shows that it does
    not, or where its recipe names none."""
    if search is not None and len(carried) < 2:
        first = f"`smol run {search} --scale {ladder[0]}`"
        return f"nobody has searched its arms' rates at these rungs ({first} and upwards)"
    return next((one for arm in carried for one in arm.loses), None)


def carried(
    records: Sequence[Record], found: Sequence[Climbed], device_class: str, ladder: Sequence[str]
) -> list[Carried]:
    """Of each arm of a ladder that some search at its rungs has tuned without decay, on a class of
    device."""
    mine = [r for r in records if r.scale in ladder and r.hardware.device_class == device_class]
    at = {}
    for section in sections(mine):
        if not section.overrides:
            at.update({(section.scale, arm): one for arm, one in searches(section).items()})
    said = []
    for place, arm in enumerate(found[0].pair if found else ()):
        rungs = [(scale, at[scale, arm]) for scale in ladder if (scale, arm) in at]
        whole = [(scale, one) for scale, one in rungs if one.best is not None]
        if whole:
            said.append(_carried(arm, whole, {one.scale: one.rates[place] for one in found}))
    return said


def _carried(arm: str, rungs: Sequence[tuple[str, Search]], used: Mapping[str, float]) -> Carried:
    lines = [[p for p in one.points if p.place[1] == 0.0] for _, one in rungs]
    sizes = tuple(map(_searched, lines))
    law, why = None, ""
    try:
        law = transfer(sizes)
    except ValueError as error:
        why = str(error)
    return Carried(
        arm, tuple(scale for scale, _ in rungs), sizes, law, why,
        tuple(used.get(scale) for scale, _ in rungs),
        tuple(path for line in lines for point in line for path in point.paths),
    )  # fmt: skip


def _rate(point: Point) -> float:
    return own_rate(str(point.fields["optim.name"]), point.settings)


def _searched(line: Sequence[Point]) -> Searched:
    seeds = min(len(point.losses) for point in line if not point.diverged)
    losses = np.array(
        [[np.inf] * seeds if p.diverged else p.losses[:seeds] for p in line], dtype=float
    ).T
    return Searched(float(line[0].fields["model.width"]), tuple(map(_rate, line)), losses)
