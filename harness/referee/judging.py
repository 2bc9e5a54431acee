"""From paired values to a verdict and a decision; and, before that, what n pairs can find.

Pure arithmetic on numbers by arm and seed; the tests are those of `harness.stats.inference`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import scipy

from harness.stats import inference
from harness.stats.inference import LEVEL, MIN_PAIRS, Estimate, Verdict

_QUANTILES = 50
MOST_PAIRS = 1000
"""More are not counted out: nobody runs them."""


@dataclass(frozen=True)
class Judgement:
    """What is known of one candidate against the baseline."""

    difference: Estimate
    """Candidate - baseline over the pairs, with the interval at the verdict's level."""
    verdict: Verdict
    decision: str
    """`keep`, `discard`, or `not known` and what would tell."""
    more: int | None
    """Pairs, of new seeds, that would tell; None where no number of them would."""


def judge(
    baseline: Mapping[int, float],
    candidates: Mapping[str, Mapping[int, float]],
    *,
    seeds: Sequence[int],
    lower: bool,
    barred: Mapping[str, str] | None = None,
) -> dict[str, Judgement]:
    """A judgement of each candidate, by seed -> value, on the seeds frozen beforehand.

    A candidate of which a seed is missing has no verdict: whoever may leave seeds out can choose
    which. `barred` names others about which nothing may be said, with the reason.
    """
    barred = dict(barred or {})
    pairs = {}
    for name, values in candidates.items():
        both = [seed for seed in seeds if seed in values and seed in baseline]
        pairs[name] = [values[seed] - baseline[seed] for seed in both]
        if name not in barred and len(seeds) >= MIN_PAIRS and len(both) < len(seeds):
            barred[name] = f"{len(seeds) - len(both)} of {len(seeds)} pairs are missing"
    differences = {name: inference.t_interval(some) for name, some in pairs.items()}
    verdicts = inference.judge(differences, barred=barred, lower_is_better=lower)
    family = sum(verdict.kind != "not comparable" for verdict in verdicts.values())
    return {
        name: _decided(
            inference.t_interval(pairs[name], verdict.level),
            verdict,
            lower,
            family,
            name in barred,
        )
        for name, verdict in verdicts.items()
    }


def _decided(
    difference: Estimate, verdict: Verdict, lower: bool, family: int, barred: bool
) -> Judgement:
    more = None
    if verdict.kind == "better":
        decision = "keep"
    elif verdict.kind == "worse":
        decision = "discard"
    elif verdict.kind == "not comparable":
        decision = "not known"
        if not barred and difference.n < MIN_PAIRS:
            more = MIN_PAIRS
    elif difference.mean is None or (difference.mean >= 0.0) == lower or difference.mean == 0.0:
        decision = "discard"  # a gain that these pairs can find would hardly have shown a loss
    else:
        more = pairs_for(difference.mean, difference.sd or 0.0, family)
        decision = "not known"
    if more is not None:
        decision = f"not known, {more} more pairs would tell"
    return Judgement(difference, verdict, decision, more)


def pairs_for(difference: float, sd: float, family: int = 1) -> int | None:
    """Pairs that find a true difference of this size, at this spread, in 80 % of cases.

    None beyond `MOST_PAIRS`.
    """
    low, high = MIN_PAIRS - 1, MOST_PAIRS  # low does not suffice, or is too few to be judged
    if _finds(high, sd, family) > abs(difference):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _finds(middle, sd, family) <= abs(difference):
            high = middle
        else:
            low = middle
    return high


def _finds(pairs: int, sd: float, family: int) -> float:
    found = inference.detectable_difference(sd, pairs, level=_level(family))
    return math.inf if found is None else found


def _level(family: int) -> float:
    """Of Holm's first and strictest step."""
    return 1.0 - (1.0 - LEVEL) / max(family, 1)


@dataclass(frozen=True)
class Foresight:
    """What a comparison can see, said before it spends."""

    spread: float
    """Standard deviation of a pair's difference."""
    basis: str
    """What the spread is taken from."""
    detectable: float
    """The true difference that is found in 80 % of cases."""


def foresee(baseline: Sequence[float], pairs: int, candidates: int) -> Foresight | None:
    """What n pairs will find, from the baseline's values over seeds; None below two values.

    A candidate is taken to spread as the baseline does, and a shared seed not to help: the
    variance of a difference is then twice that of a value.
    """
    own = inference.t_interval(baseline)
    if own.sd is None or pairs < MIN_PAIRS:
        return None
    spread = math.sqrt(2.0) * own.sd
    factor = _factor(own.n, pairs, _level(candidates))
    return Foresight(spread, f"{own.n} runs of the baseline", factor * spread)


@cache
def _factor(values: int, pairs: int, level: float) -> float:
    """Spreads, as estimated from so many values, that pairs find in 80 % of cases.

    A spread from few values is itself uncertain: sd^2 (values - 1) / sigma^2 is chi-squared. The
    factor is where the power, averaged over that distribution, is 80 %; with many values it is
    `detectable_difference` of spread 1.
    """
    df = values - 1
    quantiles = [(i + 0.5) / _QUANTILES for i in range(_QUANTILES)]
    ratios = [
        math.sqrt(2.0 * float(scipy.special.gammaincinv(df / 2.0, q)) / df) for q in quantiles
    ]

    def power(factor: float) -> float:
        return math.fsum(inference.power_of(factor * r, 1.0, pairs, level) for r in ratios) / len(
            ratios
        )

    low, high = 0.0, 1.0
    while power(high) < inference.POWER:
        low, high = high, 2.0 * high
    for _ in range(20):  # to a millionth
        middle = (low + high) / 2.0
        low, high = (middle, high) if power(middle) < inference.POWER else (low, middle)
    return high
