"""When a comparison that buys its seeds one by one may stop, fixed before the first was run. Pure.

O'Brien and Fleming's idea (1979, Biometrics 35): early looks ask for much, late ones for little.
`recipe.LOOKS` are levels for t tests of three to eight pairs; over all looks, together with the
stop for futility, arms that do not differ are told apart in 5.0 % of cases (simulated, and again
in the tests), with a third fewer seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from harness.stats.inference import MIN_PAIRS

FUTILE = 0.5
FUTILE_FROM = 4
"""The number of pairs from which on a p-value above `FUTILE` ends it: more would hardly find
anything."""


class Stop(NamedTuple):
    """Where a comparison ended."""

    pairs: int
    """What is judged: these first ones alone, however many were run."""
    level: float
    """The level of the verdict and of its interval. An interval at each look's own level covers the
    truth at all looks together (repeated intervals: Jennison & Turnbull 1989, J. R. Stat. Soc. B
    51)."""
    why: Literal["found", "futile", "last"]


def stop(
    p_value: Callable[[int], float | None], pairs: int, levels: Sequence[float], family: int = 1
) -> Stop | None:
    """The first look at which the rule ends; None where it asks for more than `pairs` pairs.

    `p_value(n)` is that of the first n; `levels` those of the looks from `MIN_PAIRS` on, which
    `family` pairs of arms share.
    """
    for n, share in enumerate(levels, start=MIN_PAIRS):
        if n > pairs or (p := p_value(n)) is None:
            return None
        level = 1.0 - share / family
        if p <= 1.0 - level:
            return Stop(n, level, "found")
        if n >= FUTILE_FROM and p > FUTILE:
            return Stop(n, level, "futile")
        if n == MIN_PAIRS + len(levels) - 1:
            return Stop(n, level, "last")
    return None
