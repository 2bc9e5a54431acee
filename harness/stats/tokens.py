"""What a difference in loss is worth in training tokens, by the local slope of a loss curve. Pure.

Any smooth law of loss in tokens (Hoffmann et al. 2022, arXiv 2203.15556, equation 2) is, to first
order about a point, L(T) = L0 - s ln(T / T0). A gain g there is what T0 (exp(g / s) - 1) more
tokens would have brought: a compute-equivalent gain (Davidson et al. 2023, arXiv 2312.07413) in
tokens. Further than a doubling the first order is not to be trusted, and no figure is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import scipy  # `scipy.special` loads when it is first asked for: a quarter of a second

from harness.stats import fieller
from harness.stats.inference import MIN_PAIRS, Estimate, t_interval

MORE = 0.02
"""Tokens more whose effect is the margin of equivalence, where a recipe declares none."""
UNRESOLVED = "not resolved"
REACH = math.log(2.0)
"""How far along the curve, in ln tokens, a slope is believed."""


@dataclass(frozen=True)
class Worth:
    """A gain in ln tokens, or why there is none."""

    interval: tuple[float, float] | None
    """The interval at the level of its difference; above 0, the arm does as well with fewer
    tokens."""
    reason: str | None = None
    """Why there is no interval; None where there is one."""

    def turned(self) -> Worth:
        """Of the difference taken the other way round, by the same slope."""
        if self.interval is None:
            return self
        low, high = self.interval
        return Worth((-high, -low))

    @property
    def text(self) -> str:
        """`4 to 7 % more tokens`."""
        if self.interval is None:
            return f"{UNRESOLVED}: {self.reason}"
        low, high = self.interval
        if low < -REACH and high > REACH:
            return f"{UNRESOLVED}: between less than half and more than twice the tokens"
        if low > REACH:
            return "more than twice the tokens"
        if high < -REACH:
            return "less than half the tokens"
        if high > REACH:
            return f"at least {_said(low)}"
        if low < -REACH:
            return f"at most {_said(high)}"
        if low * high > 0.0:
            less, more = sorted((low, high), key=abs)
            return f"{_percent(less)} to {_said(more)}"
        return f"between {_said(low)} and {_said(high)}"


def _percent(gain: float) -> str:
    size = abs(100.0 * math.expm1(gain))
    return f"{size:.0f}" if size >= 2.0 else f"{size:.1f}"


def _said(gain: float) -> str:
    return f"{_percent(gain)} % {'more' if gain >= 0.0 else 'fewer'} tokens"


def local_slope(points: Sequence[tuple[int, float]], at: int) -> float | None:
    """Nats that a loss falls per ln token: the chord of the last two of `points` (tokens, loss,
    ascending) up to `at` tokens. None where there are no two, or `at` lies beyond `REACH`."""
    known = [point for point in points if 0 < point[0] <= at]
    if len(known) < 2 or math.log(at / known[-1][0]) > REACH:
        return None
    (before, high), (after, low) = known[-2:]
    return (high - low) / math.log(after / before)


def unresolved(slopes: Sequence[float | None]) -> str | None:
    """Why a slope's values over seeds resolve nothing; None where they surely fall."""
    known = [slope for slope in slopes if slope is not None]
    if len(known) < max(len(slopes), 1):
        return "no two validations at a constant rate near the horizon"
    if len(known) < MIN_PAIRS:
        return f"a slope needs {MIN_PAIRS} seeds"
    bounds = t_interval(known).interval
    return None if bounds and bounds[0] > 0.0 else "the curve's slope is within its error"


def worth(difference: Estimate, values: Sequence[float], slopes: Sequence[float | None]) -> Worth:
    """What `difference` is worth, at its level: minus it over the slope, by Fieller's interval.

    `values` are the pairs' differences, `slopes` the reference's slopes on the same seeds.
    """
    reason = unresolved(slopes)
    steep = [slope for slope in slopes if slope is not None]
    if reason is not None or difference.mean is None or difference.error is None:
        return Worth(None, reason or "no interval of the difference")
    slope = t_interval(steep)
    assert slope.mean is not None
    assert slope.error is not None
    centre = sum(values) / len(values)
    covariance = sum((v - centre) * (s - slope.mean) for v, s in zip(values, steep, strict=True))
    moments = fieller.Moments(
        -difference.mean, slope.mean, difference.error**2, slope.error**2,
        -covariance / (len(steep) - 1) / len(steep),
    )  # fmt: skip
    quantile = float(scipy.special.stdtrit(difference.df, 0.5 + difference.level / 2.0))
    found = fieller.interval(moments, quantile**2)
    return Worth(found, None if found else "the curve's slope is within its error")
