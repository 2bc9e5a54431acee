"""What interleaved rounds say: medians, spreads, and ratios with an interval. Pure.

In every round all contestants work once, one after another, so that what changes slowly (clocks,
temperature, other work) falls on all of them. A ratio is made within a round, and its interval
over rounds: t on the log ratio. Rounds of one launch share that launch's luck (page placement,
the compiler's choices), so the interval speaks of this launch, as each table says.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.stats.inference import t_interval


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as the base; above 1 is faster."""

    value: float
    """Geometric mean over rounds of base's seconds / this one's."""
    low: float | None
    high: float | None
    """The 95 % interval; None below two rounds."""

    @property
    def text(self) -> str:
        """`2.10 (2.05 to 2.16)`."""
        if self.low is None or self.high is None:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def median(rounds: Sequence[Sequence[float]]) -> float:
    """Over all timings of all rounds."""
    return statistics.median(seconds for timings in rounds for seconds in timings)


def interquartile_range(rounds: Sequence[Sequence[float]]) -> float:
    """Over all timings of all rounds; 0 for a single one."""
    every = [seconds for timings in rounds for seconds in timings]
    if len(every) < 2:
        return 0.0
    first, _, third = statistics.quantiles(every, n=4, method="inclusive")
    return third - first


def ratio(base: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> Ratio:
    """Of the rounds' medians; position i of both is one round.

    Raises ValueError for unequal numbers of rounds, or none.
    """
    logs = [
        math.log(statistics.median(b) / statistics.median(o))
        for b, o in zip(base, other, strict=True)
    ]
    estimate = t_interval(logs)
    if estimate.mean is None:
        raise ValueError("a ratio needs at least one round")
    if estimate.interval is None:
        return Ratio(math.exp(estimate.mean), None, None)
    low, high = (math.exp(end) for end in estimate.interval)
    return Ratio(math.exp(estimate.mean), low, high)


def order(names: Sequence[str], number: int) -> list[str]:
    """Who works when in round `number`: forwards and backwards in turn (ABBA), so that a drift
    over a round falls on everybody alike."""
    return list(names) if number % 2 == 0 else list(reversed(names))


def against(base: str, timings: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Ratio]:
    """Every contestant's ratio to the base, the base itself left out."""
    return {name: ratio(timings[base], t) for name, t in timings.items() if name != base}
