"""Intervals: what a printed number can mean, and what follows from several of them.

Only non-negative factors are multiplied and divided here. May know nothing of claims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SLACK = 1e-9
"""Relative room for the rounding of floating-point arithmetic itself."""


@dataclass(frozen=True)
class Interval:
    """All values from `low` to `high`, both included, and the one that was printed."""

    low: float
    high: float
    at: float | None = None
    """The nominal value, for showing; the middle where nothing was printed."""

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high, self.middle + other.middle)

    def __sub__(self, other: Interval) -> Interval:
        return Interval(self.low - other.high, self.high - other.low, self.middle - other.middle)

    def __mul__(self, other: Interval) -> Interval:
        return Interval(
            _times(self.low, other.low),
            _times(self.high, other.high),
            _times(self.middle, other.middle),
        )

    def __truediv__(self, other: Interval) -> Interval:
        low = self.low / other.high if other.high else math.inf
        high = self.high / other.low if other.low > 0 else math.inf
        return Interval(low, high, self.middle / other.middle if other.middle else math.inf)

    def power(self, exponent: int) -> Interval:
        """The interval to a power of 1 or -1."""
        return self if exponent == 1 else exact(1.0) / self

    def scaled(self, factor: float) -> Interval:
        """Both ends times a positive factor."""
        return Interval(self.low * factor, self.high * factor, self.middle * factor)

    def overlaps(self, other: Interval) -> bool:
        """Whether some value is in both, up to floating-point rounding."""
        ends = (self.low, self.high, other.low, other.high)
        room = SLACK * max((abs(end) for end in ends if math.isfinite(end)), default=0.0)
        return self.low <= other.high + room and other.low <= self.high + room

    def holds(self, value: float) -> bool:
        """Whether the interval contains a value."""
        return self.overlaps(exact(value))

    @property
    def spread(self) -> float:
        """Width over nominal value: how coarse the print is."""
        return (self.high - self.low) / abs(self.middle) if self.middle else math.inf

    @property
    def middle(self) -> float:
        """The nominal value; else the middle, or the finite end of a one-sided interval."""
        if self.at is not None:
            return self.at
        if math.isinf(self.high):
            return self.low
        return (self.low + self.high) / 2


def exact(value: float) -> Interval:
    """The interval of one value."""
    return Interval(value, value, value)


def product(factors: list[Interval]) -> Interval:
    """The product of intervals of non-negative values."""
    result = exact(1.0)
    for factor in factors:
        result = result * factor
    return result


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0.0 or b == 0.0 else a * b
