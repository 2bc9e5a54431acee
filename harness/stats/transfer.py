"""Whether a learning rate carries over sizes: the best rate at each, a power of the width through
the first two, and what its rate for the third costs there. Pure arithmetic.

Near its least, a loss is a parabola in the logarithm of the rate; the best rate is where the one
through the three lowest neighbouring points has its least value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Searched:
    """A search over one arm's learning rate at one size."""

    width: float
    rates: tuple[float, ...]
    """R learning rates, ascending."""
    losses: Array
    """(S, R) of S seeds, nats a token; infinite where a run diverged."""

    @property
    def means(self) -> Array:
        """(R,) over the seeds."""
        return np.asarray(self.losses.mean(axis=0))

    @property
    def best(self) -> int:
        """The place of the lowest mean."""
        return int(np.argmin(self.means))

    @property
    def inside(self) -> bool:
        """Whether the lowest mean has a finite neighbour on either side."""
        around = self.means[max(self.best - 1, 0) : self.best + 2]
        return len(around) == 3 and bool(np.isfinite(around).all())

    @property
    def noise(self) -> float:
        """Nats: the spread (sd) of the difference of two runs that differ in their seed alone,
        pooled over the best rate and its neighbours: rates that are too high spread more. Not a
        number below two seeds."""
        about = self.losses[:, max(self.best - 1, 0) : self.best + 2]
        finite = about[:, np.isfinite(about).all(axis=0)]
        if len(finite) < 2:
            return math.nan
        return math.sqrt(2.0 * float(finite.var(axis=0, ddof=1).mean()))

    def near(self, rate: float) -> float:
        """The loss at a rate, by the parabola through the three rates about it (through the last
        three where it is outside)."""
        place = int(np.abs(np.log(self.rates) - math.log(rate)).argmin())
        return float(np.polyval(self._parabola(place), math.log(rate)))

    def _parabola(self, place: int) -> Array:
        place = min(max(place, 1), len(self.rates) - 2)
        about = slice(place - 1, place + 2)
        return np.asarray(np.polyfit(np.log(self.rates[about]), self.means[about], 2))

    @property
    def optimum(self) -> tuple[float, float]:
        """The best rate and its loss. Raises ValueError where it is at the search's edge."""
        if not self.inside:
            raise ValueError(f"the best of {len(self.rates)} rates is at the edge")
        curve, slope, height = self._parabola(self.best)
        return math.exp(-slope / (2.0 * curve)), float(height - slope**2 / (4.0 * curve))


class Transfer(NamedTuple):
    """What a power of the width, fitted on the two smallest sizes, comes to at the third."""

    exponent: float
    """Of the width; below 0 the rate falls as the model grows."""
    expected: float
    """The rate that it gives for the third size."""
    found: float
    """The best rate there."""
    cost: float
    """Nats a token that the expected rate loses there against the best."""
    noise: float
    """`Searched.noise` there."""

    @property
    def holds(self) -> bool:
        """Whether what is lost is less than two runs differ in by their seed alone."""
        return self.cost < self.noise


def transfer(sizes: Sequence[Searched]) -> Transfer:
    """The law of the two smallest sizes, tested on the third.

    Raises ValueError for fewer than three sizes or two seeds, or a best rate at a search's edge.
    """
    if len(sizes) < 3:
        raise ValueError(f"three sizes are needed, and {len(sizes)} were searched")
    if min(len(one.losses) for one in sizes) < 2:
        raise ValueError("two seeds are needed, to tell what is lost from noise")
    small, next_, third = sorted(sizes, key=lambda one: one.width)[:3]
    first, second = small.optimum[0], next_.optimum[0]
    exponent = math.log(second / first) / math.log(next_.width / small.width)
    expected = second * (third.width / next_.width) ** exponent
    found, least = third.optimum
    return Transfer(exponent, expected, found, third.near(expected) - least, third.noise)
