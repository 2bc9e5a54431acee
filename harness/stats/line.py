"""The line `fixed + updates x steady` through timed runs, and where two such lines cross.

Pure arithmetic on numbers. May not import torch, pandas or a record: which seconds count, and
which launches are paired, is the views' business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

LEVEL = 0.95


@dataclass(frozen=True)
class Line:
    """Least squares of seconds on updates: seconds = fixed + updates x steady."""

    fixed: float
    """Seconds at no updates; below zero it is not a property of any machine."""
    steady: float
    """Seconds an update."""
    residuals: tuple[float, ...]
    """Measured less fitted seconds, in the order given."""
    df: int
    """Points less two; at zero the line goes through its points and has no interval."""
    covariance: tuple[float, float, float] | None
    """(variance of fixed, of steady, their covariance); None without degrees of freedom."""

    def at(self, updates: float) -> float:
        """Fitted seconds of a run."""
        return self.fixed + updates * self.steady

    @property
    def spread(self) -> float | None:
        """Residual standard deviation, seconds, df in the denominator; None without df."""
        if not self.df:
            return None
        return math.sqrt(math.fsum(r * r for r in self.residuals) / self.df)

    def fixed_interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Two-sided t interval of `fixed`; None without degrees of freedom."""
        return self._interval(self.fixed, 0, level)

    def steady_interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Two-sided t interval of `steady`; None without degrees of freedom."""
        return self._interval(self.steady, 1, level)

    def _interval(self, value: float, which: int, level: float) -> tuple[float, float] | None:
        if self.covariance is None:
            return None
        half = _quantile(self.df, level) * math.sqrt(self.covariance[which])
        return value - half, value + half

    def minus(self, other: Line) -> Line:
        """The line of the difference of two independent fits.

        Variances add; the degrees of freedom are the smaller of the two, which errs to the wide
        side. Paired launches want a fit of their differences instead.
        """
        both = self.covariance is not None and other.covariance is not None
        covariance = None
        if self.covariance is not None and other.covariance is not None:
            a, b = self.covariance, other.covariance
            covariance = (a[0] + b[0], a[1] + b[1], a[2] + b[2])
        df = min(self.df, other.df) if both else 0
        return Line(self.fixed - other.fixed, self.steady - other.steady, (), df, covariance)


def fit(updates: Sequence[float], seconds: Sequence[float]) -> Line:
    """Ordinary least squares over runs of at least two lengths.

    Raises ValueError for unequally many values, a value that is not finite, or a single length:
    one length cannot tell what is fixed from what repeats.
    """
    n = len(updates)
    if n != len(seconds):
        raise ValueError(f"a fit needs equally many values, not {n} and {len(seconds)}")
    if not all(math.isfinite(value) for value in (*updates, *seconds)):
        raise ValueError("a fit takes finite values")
    if len(set(updates)) < 2:
        raise ValueError("fixed and steady cost need runs of two lengths or more")
    mean_x, mean_y = math.fsum(updates) / n, math.fsum(seconds) / n
    # Centred sums: with raw ones, 10^4 updates would cost half of a double's digits.
    sxx = math.fsum((x - mean_x) ** 2 for x in updates)
    sxy = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(updates, seconds, strict=True))
    steady = sxy / sxx
    fixed = mean_y - steady * mean_x
    residuals = tuple(y - fixed - steady * x for x, y in zip(updates, seconds, strict=True))
    df = n - 2
    if df == 0:
        return Line(fixed, steady, residuals, 0, None)
    variance = math.fsum(r * r for r in residuals) / df
    covariance = (
        variance * (1.0 / n + mean_x**2 / sxx), variance / sxx, -variance * mean_x / sxx,
    )  # fmt: skip
    return Line(fixed, steady, residuals, df, covariance)


@dataclass(frozen=True)
class BreakEven:
    """From which run length on a variant is the faster one, or why there is none."""

    updates: float | None
    """Where the lines cross; None where the variant never, or always, wins."""
    interval: tuple[float, float] | None
    """By the delta method; not below zero."""
    reason: str | None
    """Why there is no crossing; set exactly where `updates` is None."""


def break_even(difference: Line, level: float = LEVEL) -> BreakEven:
    """Where a variant that costs more at first has earned it back.

    `difference` is the line of variant less base: -fixed / steady is where it crosses zero. The
    interval is the delta method's: the variance of the quotient q = -fixed / steady to first
    order, (var(fixed) + 2 q cov + q² var(steady)) / steady², with a t quantile. It is only given
    where the variant's steady rate is better by more than its own interval, since near equal
    rates a quotient has no useful first order.
    """
    saved = -difference.steady
    if saved <= 0.0:
        slower = "as fast" if saved == 0.0 else "slower"
        if difference.fixed < 0.0:
            return BreakEven(None, None, f"starts sooner and is {slower} afterwards")
        return BreakEven(None, None, f"never: {slower} after its start")
    crossing = difference.fixed / saved
    if crossing <= 0.0:
        return BreakEven(None, None, "always: starts no later and is faster")
    bounds = difference.steady_interval(level)
    if difference.covariance is None or bounds is None:
        return BreakEven(crossing, None, None)
    if bounds[1] >= 0.0:
        return BreakEven(None, None, "not resolved: the steady rates are within their error")
    fixed, steady, both = difference.covariance
    variance = (fixed + 2.0 * crossing * both + crossing**2 * steady) / saved**2
    half = _quantile(difference.df, level) * math.sqrt(max(variance, 0.0))
    return BreakEven(crossing, (max(crossing - half, 0.0), crossing + half), None)


def _quantile(df: int, level: float) -> float:
    return float(special.stdtrit(df, 0.5 + level / 2.0))
