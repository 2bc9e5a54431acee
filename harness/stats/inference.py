"""What a difference is worth: intervals, paired tests, Holm, power, and the five verdicts.

Pure arithmetic on sequences of numbers. May not import torch, pandas or a record: who asks, and
which numbers are paired, is the views' business. `scipy.special` alone, because importing
`scipy.stats` takes a second.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import scipy  # `scipy.special` loads when it is first asked for: a quarter of a second

LEVEL = 0.95
POWER = 0.80
MIN_PAIRS = 3
"""The fewest pairs that are compared."""
PRELIMINARY_PAIRS = 4
"""Up to this many pairs, a verdict is called preliminary."""
UNASKED = "exploratory, no verdict"
"""Stands in the place of a verdict, where the recipe did not ask beforehand."""

Kind = Literal["better", "worse", "equivalent", "no detectable difference", "not comparable"]


TRIFLE = 0.05
"""Of a variance, what is not worth adding."""


@dataclass(frozen=True)
class Shares:
    """Of what the variance of a mean over seeds and documents comes; the two add up to 1."""

    seeds: float
    documents: float

    @property
    def text(self) -> str:
        """`seeds 30 %, documents 70 %`."""
        return f"seeds {100 * self.seeds:.0f} %, documents {100 * self.documents:.0f} %"


@dataclass(frozen=True)
class Estimate:
    """A mean with its two-sided t interval. What `n` values cannot give is None."""

    n: int
    mean: float | None
    """None without values."""
    sd: float | None
    """Sample standard deviation (n - 1); None below two values."""
    half: float | None
    """Half-width of the interval; None below two values."""
    level: float = LEVEL
    error: float | None = None
    """Standard error of the mean; None below two values."""
    df: float = 0
    """Degrees of freedom of the interval: n - 1 where the values are independent."""
    shares: Shares | None = None
    """How much of the interval is of seeds and how much of documents; there exactly where it is
    over documents too, else it is over seeds alone."""
    tuning: float = 0.0
    """The share of the error's square that is the tuning's."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high), or None where there is none."""
        if self.mean is None or self.half is None:
            return None
        return self.mean - self.half, self.mean + self.half

    def at(self, level: float) -> Estimate:
        """The same values with the interval of another level."""
        half = None if self.error is None else half_width(self.error, self.df, level)
        return dataclasses.replace(self, half=half, level=level)

    def widened(self, error: float) -> Estimate:
        """The same values where the mean has an `error` more of its own: the arms' tuning. The
        degrees of freedom stay the values', so that nothing gets narrower; what is a twentieth of
        the variance or less is left out."""
        if self.error is None or error**2 <= TRIFLE * (self.error**2 + error**2):
            return self
        total = self.error**2 + error**2
        half = half_width(math.sqrt(total), self.df, self.level)
        share = error**2 / total
        return dataclasses.replace(self, error=math.sqrt(total), half=half, tuning=share)

    def moved(self, by: float) -> Estimate:
        """The same values, a constant added to each."""
        return dataclasses.replace(self, mean=None if self.mean is None else self.mean + by)

    def turned(self) -> Estimate:
        """The same difference taken the other way round."""
        return dataclasses.replace(self, mean=None if self.mean is None else -self.mean)

    @property
    def over(self) -> str | None:
        """What the interval is over; None where there is none."""
        if self.half is None:
            return None
        said = self.shares.text if self.shares else "seeds alone"
        return f"{said}; of all {100 * self.tuning:.0f} % tuning" if self.tuning else said

    @property
    def p_value(self) -> float | None:
        """Two-sided p of the t test that the mean is zero; None below two values.

        Without any spread the t statistic does not exist: 1 where the mean is zero, else 0.
        """
        if self.mean is None or self.error is None:
            return None
        if self.error == 0.0:
            return 1.0 if self.mean == 0.0 else 0.0
        return float(2.0 * scipy.special.stdtr(self.df, -abs(self.mean / self.error)))

    @property
    def p_above(self) -> float | None:
        """One-sided p of the t test that the mean is at most zero; None below two values."""
        if self.mean is None or self.p_value is None:
            return None
        return self.p_value / 2.0 if self.mean > 0.0 else 1.0 - self.p_value / 2.0


def t_interval(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean and two-sided Student t interval of independent values, any number of them.

    half = t(1 - (1 - level) / 2; n - 1) * sd / sqrt(n). Raises ValueError for a value that is not
    finite (a diverged run has no place in a mean) or a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be inside (0, 1), not {level}")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"an interval takes finite values, not {list(values)}")
    n = len(values)
    if n == 0:
        return Estimate(0, None, None, None, level)
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(1, mean, None, None, level)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    error = sd / math.sqrt(n)
    return Estimate(n, mean, sd, half_width(error, n - 1, level), level, error, n - 1)


def half_width(error: float, df: float, level: float) -> float:
    """Of the two-sided t interval of a mean with this standard error."""
    return float(scipy.special.stdtrit(df, 0.5 + level / 2.0)) * error


def paired_difference(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> Estimate:
    """The paired t interval of `b - a`; position i of both is one pair (one seed).

    Raises ValueError for sequences of unequal length.
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need equally many values, not {len(a)} and {len(b)}")
    return t_interval([right - left for left, right in zip(a, b, strict=True)], level)


def holm_levels(p_values: Sequence[float], level: float = LEVEL) -> list[float]:
    """The level at which Holm's step-down procedure tests each of a family, in the order given
    (Holm 1979, Scand. J. Stat. 6).

    The k-th smallest of m p-values (k from 0) is tested at 1 - (1 - level) / (m - k); the first
    that does not pass ends it, and all larger ones share its level, at which they do not pass
    either. So a p-value passes exactly where it is at most 1 - its level, and a t interval of
    that level leaves zero out exactly where its p-value passes.
    """
    m = len(p_values)
    levels = [level] * m
    open_step = True
    share = 1.0 - level
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        if open_step:
            share = (1.0 - level) / (m - rank)
            open_step = p_values[index] <= share
        levels[index] = 1.0 - share
    return levels


def power_of(difference: float, sd: float, n: int, level: float = LEVEL) -> float:
    """The chance that a paired t test of n pairs finds a true difference.

    The t statistic is noncentral t with n - 1 degrees of freedom and noncentrality
    difference / (sd / sqrt(n)); both tails count.
    """
    return _power(abs(difference) * math.sqrt(n) / sd, n - 1, level)


def _power(noncentrality: float, df: float, level: float) -> float:
    critical = float(scipy.special.stdtrit(df, 0.5 + level / 2.0))
    return 1.0 - _below(critical, df, noncentrality) + _below(-critical, df, noncentrality)


def _below(t: float, df: float, noncentrality: float) -> float:
    """The noncentral t's distribution function."""
    value = float(scipy.special.nctdtr(df, noncentrality, t))
    # Where it underflows (noncentrality beyond some 35), scipy may say NaN for its zero.
    return 0.0 if math.isnan(value) else value


def detectable_difference(
    sd: float, n: int, power: float = POWER, level: float = LEVEL
) -> float | None:
    """The true difference that n pairs with this spread would find with probability `power`.

    `sd` is that of the pairs' differences. None below two pairs. Raises ValueError for a negative
    spread.
    """
    if sd < 0.0:
        raise ValueError(f"a standard deviation is not negative: {sd}")
    if n < 2:
        return None
    return _detectable_errors(n - 1, power, level) * sd / math.sqrt(n)


@cache
def _detectable_errors(df: float, power: float, level: float) -> float:
    """The detectable difference in units of its standard error."""
    low, high = 0.0, 1.0  # power rises with the difference
    while _power(high, df, level) < power:
        high *= 2.0
    for _ in range(60):  # halves the bracket to the last bits of a double
        middle = (low + high) / 2.0
        if _power(middle, df, level) < power:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True)
class Margin:
    """How large a difference must be to matter, and the difference set against both ends.

    Where the margin is itself estimated pair by pair, its error is in `lower` and `upper`, so that
    the two tests keep their level.
    """

    size: float
    """Positive, in the difference's unit."""
    lower: Estimate
    """The difference plus the margin."""
    upper: Estimate
    """The difference less the margin."""

    @staticmethod
    def fixed(size: float, difference: Estimate) -> Margin:
        """A margin that was declared beforehand."""
        return Margin(size, difference.moved(size), difference.moved(-size))

    def turned(self) -> Margin:
        """Of the difference taken the other way round."""
        return Margin(self.size, self.upper.turned(), self.lower.turned())

    def holds(self, level: float) -> bool:
        """Whether the difference is surely smaller: two one-sided t tests, each at 1 - level
        (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15)."""
        above, below = self.lower.p_above, self.upper.turned().p_above
        return above is not None and below is not None and max(above, below) <= 1.0 - level


@dataclass(frozen=True)
class Verdict:
    """One of the five answers, and what qualifies it."""

    kind: Kind
    reason: str | None
    """Why nothing can be said; set exactly where the kind is `not comparable`."""
    pairs: int
    detectable: float | None
    """The difference that these pairs would have found in 80 % of cases, as one of its family."""
    level: float = LEVEL
    """The level of the test, and of the interval that belongs beside the verdict."""
    margin: float | None = None
    """The margin within which the two are equivalent; there exactly where the kind is
    `equivalent`."""

    def turned(self) -> Verdict:
        """On the same difference taken the other way round."""
        other: dict[Kind, Kind] = {"better": "worse", "worse": "better"}
        return dataclasses.replace(self, kind=other.get(self.kind, self.kind))

    @property
    def preliminary(self) -> bool:
        """Whether the verdict stands on three or four pairs."""
        return self.kind != "not comparable" and self.pairs <= PRELIMINARY_PAIRS

    @property
    def text(self) -> str:
        """As a table prints it."""
        if self.kind == "not comparable":
            return f"not comparable: {self.reason}"
        said = self.kind if self.margin is None else f"{self.kind} within ±{self.margin:.4f}"
        return f"{said} (preliminary, {self.pairs} pairs)" if self.preliminary else said


def judge(
    differences: Mapping[str, Estimate],
    *,
    barred: Mapping[str, str] | None = None,
    margins: Mapping[str, Margin] | None = None,
    lower_is_better: bool = True,
) -> dict[str, Verdict]:
    """A verdict for each pair of the primary question, its differences being new - reference.

    `barred` names pairs about which nothing may be said, with the reason (untuned, exploratory,
    seeds missing). The others are one family, tested together by Holm's procedure, which gives
    each verdict its level. A pair below three seeds, or without any spread, is not comparable
    either. What is not detectably different is equivalent where it is surely within its margin of
    `margins`, by two one-sided tests at the same level. What a family of m pairs could detect is
    worked out at (1 - level) / m, Holm's first and strictest step, which a pair has to pass when
    it is the only one that differs.
    """
    barred = dict(barred or {})
    for name, estimate in differences.items():
        if name in barred:
            continue
        if estimate.n < MIN_PAIRS:
            barred[name] = f"{_pairs(estimate.n)}, at least {MIN_PAIRS} needed"
        elif estimate.sd == 0.0 and estimate.mean != 0.0:
            barred[name] = (
                "every pair differs by exactly the same amount, which leaves no noise to judge by"
            )
    p_values = {
        name: one.p_value
        for name, one in differences.items()
        if name not in barred and one.p_value is not None
    }
    overall = next((differences[name].level for name in p_values), LEVEL)
    steps = holm_levels(list(p_values.values()), overall)
    levels = dict(zip(p_values, steps, strict=True))
    return {
        name: _verdict(
            one, levels.get(name), len(p_values), barred.get(name), (margins or {}).get(name),
            lower_is_better,
        )
        for name, one in differences.items()
    }  # fmt: skip


def _verdict(
    one: Estimate,
    level: float | None,
    family: int,
    reason: str | None,
    margin: Margin | None,
    lower_is_better: bool,
) -> Verdict:
    """`level` is that of its step; None where nothing may be said, for a reason."""
    strictest = 1.0 - (1.0 - one.level) / (family if level is not None else 1)
    detectable = detectable_of(one, strictest)
    if level is None or one.mean is None or one.p_value is None:
        return Verdict("not comparable", reason, one.n, detectable, one.level)
    if one.p_value <= 1.0 - level:
        kind: Kind = "better" if (one.mean < 0.0) == lower_is_better else "worse"
        return Verdict(kind, None, one.n, detectable, level)
    if margin is not None and margin.holds(level):
        return Verdict("equivalent", None, one.n, detectable, level, margin.size)
    return Verdict("no detectable difference", None, one.n, detectable, level)


def detectable_of(one: Estimate, level: float) -> float | None:
    """The true difference that as many values, spread as these are, would show in 80 % of cases,
    tested at `level`; None below two values."""
    if one.error is None:
        return None
    return _detectable_errors(one.df, POWER, level) * one.error


def _pairs(n: int) -> str:
    return f"{n} pair" if n == 1 else f"{n} pairs"
