"""What a run takes, `fixed + updates x steady`, and from which length on one way beats another.

Pure arithmetic on numbers. May not import torch, pandas or a record: which seconds count, and
which launches are paired, is the views' business.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import scipy  # `scipy.special` loads when it is first asked for: a quarter of a second

from harness.stats.fieller import Moments, coefficients

LEVEL = 0.95
REACH = 1.5
"""How many times the longest launch a break-even may lie away and still be given as a number."""


class Line(NamedTuple):
    """Seconds of a run against its updates."""

    fixed: float
    """Seconds that do not repeat: start-up, compilation, the excess of the first updates."""
    steady: float
    """Seconds an update after warm-up."""

    def at(self, updates: float) -> float:
        """Seconds of a run."""
        return self.fixed + updates * self.steady


@dataclass(frozen=True)
class BreakEven:
    """From which run length on a variant is the faster one, as far as launches can show."""

    updates: float | None
    """Where it has earned back what it costs more at first; None where that is not resolved."""
    interval: tuple[float, float] | None
    """Fieller's, cut at zero; set exactly where `updates` is."""
    at_least: float
    """Updates before which it surely has not; zero where nothing is known."""
    reason: str | None
    """Why there is no number; set exactly where `updates` is None."""
    always: bool = False
    """It is surely ahead at every length."""

    def pays_at(self, updates: float) -> bool:
        """Whether a run of so many updates is surely faster, by the whole interval."""
        return self.always or (self.interval is not None and updates > self.interval[1])

    @property
    def text(self) -> str:
        """As tables print it: updates and interval, or the reason."""
        if self.updates is None or self.interval is None:
            return self.reason or ""
        low, high = self.interval
        return f"{self.updates:,.0f} [{low:,.0f}, {high:,.0f}]"


def break_even(
    fixed: Sequence[float], saved: Sequence[float], longest: float, level: float = LEVEL
) -> BreakEven:
    """Where a variant that costs more at first has earned it back, from independent blocks.

    `fixed` holds, block by block, the seconds that the variant costs more at first, `saved` the
    seconds an update that it saves; `longest` is the longest launch in updates. A run of n updates
    costs mean(fixed) - n mean(saved) more; the lengths at which it cannot be told whether that
    is zero are Fieller's set (`harness.stats.fieller`). No number is given unless the whole
    interval lies within `REACH` times the longest launch: what lies further out is extrapolated,
    not measured.

    Raises ValueError for unequally many values, fewer than two blocks, or a value not finite.
    """
    n = len(fixed)
    if n != len(saved) or n < 2:
        raise ValueError(f"a break-even needs two blocks or more, not {n} and {len(saved)} values")
    if not all(math.isfinite(value) for value in (*fixed, *saved)):
        raise ValueError("a break-even takes finite values")
    extra, saving = statistics.fmean(fixed), statistics.fmean(saved)
    t2 = float(scipy.special.stdtrit(n - 1, 0.5 + level / 2.0)) ** 2
    spreads = (statistics.variance(fixed) / n, statistics.variance(saved) / n)
    of = Moments(extra, saving, *spreads, statistics.covariance(fixed, saved) / n)
    a, b, c = coefficients(of, t2)
    root = math.sqrt(max(b * b - a * c, 0.0))
    limit = REACH * longest
    if a <= 0.0:
        # The rates are within their error. What surely starts later stays behind for a while.
        later = c > 0.0 and extra > 0.0
        return unresolved((c / (b + root) if b + root > 0.0 else math.inf) if later else 0.0, limit)
    low, high = (b - root) / a, (b + root) / a
    if saving < 0.0:
        sooner = low > 0.0
        said = "starts sooner and is slower afterwards" if sooner else "never: slower afterwards"
        return BreakEven(None, None, 0.0 if sooner else math.inf, said)
    if high <= 0.0:
        return BreakEven(None, None, 0.0, "always: starts no later and is faster", always=True)
    low = max(low, 0.0)
    if high > limit:
        return unresolved(low, limit)
    return BreakEven(max(extra / saving, 0.0), (low, high), low, None)


def unresolved(at_least: float, limit: float) -> BreakEven:
    """No number; what is known is a length before which the variant surely does not pay."""
    if at_least > limit:
        return BreakEven(None, None, at_least, f"not within {limit:,.0f} updates")
    known = f": at least {at_least:,.0f}" if at_least >= 1.0 else ""
    return BreakEven(
        None, None, at_least, f"not resolved within {limit:,.0f} updates{known}"
    )  # fmt: skip
