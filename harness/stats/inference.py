"""What a difference is worth: intervals, paired tests, Holm, power, and the four verdicts.

Pure arithmetic on sequences of numbers. May not import torch, pandas or a record: who asks, and
which numbers are paired, is the views' business. `scipy.special` alone, because importing
`scipy.stats` takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

LEVEL = 0.95
POWER = 0.80
MIN_PAIRS = 3
"""Below this many pairs, nothing is compared."""
PRELIMINARY_PAIRS = 4
"""Up to this many pairs, a verdict is called preliminary."""

Kind = Literal["better", "worse", "no detectable difference", "not comparable"]


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

    @property
    def df(self) -> int:
        """Degrees of freedom of the interval."""
        return max(self.n - 1, 0)

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high), or None where there is none."""
        if self.mean is None or self.half is None:
            return None
        return self.mean - self.half, self.mean + self.half

    @property
    def p_value(self) -> float | None:
        """Two-sided p of the t test that the mean is zero; None below two values.

        Without any spread the t statistic does not exist: 1 where the mean is zero, else 0.
        """
        if self.mean is None or self.sd is None:
            return None
        if self.sd == 0.0:
            return 1.0 if self.mean == 0.0 else 0.0
        t = self.mean / (self.sd / math.sqrt(self.n))
        return float(2.0 * special.stdtr(self.df, -abs(t)))


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
    quantile = float(special.stdtrit(n - 1, 0.5 + level / 2.0))
    return Estimate(n, mean, sd, quantile * sd / math.sqrt(n), level)


def paired_difference(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> Estimate:
    """The paired t interval of `b - a`; position i of both is one pair (one seed).

    Raises ValueError for sequences of unequal length.
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need equally many values, not {len(a)} and {len(b)}")
    return t_interval([right - left for left, right in zip(a, b, strict=True)], level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979, Scand. J. Stat. 6)."""
    m = len(p_values)
    adjusted = [0.0] * m
    running = 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (m - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def power_of(difference: float, sd: float, n: int, level: float = LEVEL) -> float:
    """The chance that a paired t test of n pairs finds a true difference.

    The t statistic is noncentral t with n - 1 degrees of freedom and noncentrality
    difference / (sd / sqrt(n)); both tails count.
    """
    df = n - 1
    critical = float(special.stdtrit(df, 0.5 + level / 2.0))
    noncentrality = abs(difference) * math.sqrt(n) / sd
    return 1.0 - _below(critical, df, noncentrality) + _below(-critical, df, noncentrality)


def _below(t: float, df: int, noncentrality: float) -> float:
    """The noncentral t's distribution function."""
    value = float(special.nctdtr(df, noncentrality, t))
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
    if sd == 0.0:
        return 0.0
    low, high = 0.0, 1.0  # in units of sd; power rises with the difference
    while power_of(high, 1.0, n, level) < power:
        high *= 2.0
    for _ in range(60):  # halves the bracket to the last bits of a double
        middle = (low + high) / 2.0
        if power_of(middle, 1.0, n, level) < power:
            low = middle
        else:
            high = middle
    return high * sd


@dataclass(frozen=True)
class Verdict:
    """One of the four answers, and what qualifies it."""

    kind: Kind
    reason: str | None
    """Why nothing can be said; set exactly where the kind is `not comparable`."""
    pairs: int
    detectable: float | None
    """The difference that these pairs would have found in 80 % of cases, as one of its family."""

    @property
    def preliminary(self) -> bool:
        """Whether the verdict stands on three or four pairs."""
        return self.kind != "not comparable" and self.pairs <= PRELIMINARY_PAIRS

    @property
    def text(self) -> str:
        """As a table prints it."""
        if self.kind == "not comparable":
            return f"not comparable: {self.reason}"
        return f"{self.kind} (preliminary, {self.pairs} pairs)" if self.preliminary else self.kind


def judge(
    differences: Mapping[str, Estimate],
    *,
    barred: Mapping[str, str] | None = None,
    lower_is_better: bool = True,
) -> dict[str, Verdict]:
    """A verdict for each pair of the primary question, its differences being new - reference.

    `barred` names pairs about which nothing may be said, with the reason (untuned, exploratory,
    seeds missing). The others are one family: their p-values are Holm-adjusted together at
    1 - level. A pair below three seeds, or without any spread, is not comparable either. What a
    family of m pairs could detect is worked out at (1 - level) / m, Holm's first and strictest
    step, which a pair has to pass when it is the only one that differs.
    """
    barred = dict(barred or {})
    for name, estimate in differences.items():
        if name in barred:
            continue
        if estimate.n < MIN_PAIRS:
            barred[name] = f"{_pairs(estimate.n)}, at least {MIN_PAIRS} needed"
        elif estimate.sd == 0.0 and estimate.mean != 0.0:
            barred[name] = "every pair differs by exactly the same amount, so seeds did not vary"
    judged = [name for name in differences if name not in barred]
    raw = {name: differences[name].p_value for name in judged}
    adjusted = dict(zip(judged, holm([p for p in raw.values() if p is not None]), strict=True))
    verdicts = {}
    for name, estimate in differences.items():
        level = 1.0 - (1.0 - estimate.level) / (len(judged) if name in adjusted else 1)
        detectable = (
            detectable_difference(estimate.sd, estimate.n, level=level)
            if estimate.sd is not None
            else None
        )
        kind: Kind = "not comparable"
        if name in adjusted and estimate.mean is not None:
            if adjusted[name] > 1.0 - estimate.level:
                kind = "no detectable difference"
            else:
                kind = "better" if (estimate.mean < 0.0) == lower_is_better else "worse"
        verdicts[name] = Verdict(kind, barred.get(name), estimate.n, detectable)
    return verdicts


def _pairs(n: int) -> str:
    return f"{n} pair" if n == 1 else f"{n} pairs"
