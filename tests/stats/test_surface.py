"""Tuning inside the answer, by simulation: equal arms, each tuned by the shipped procedure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.stats.inference import judge, t_interval
from harness.stats.surface import EVEN, Axis, short_of_optimum

NOISE, PAIRED = 0.008, 0.011
"""Nats a token: one run of a search, and a pair of a verdict."""
CURVE = np.array((0.12, 0.08))
"""Nats at a step of the rate and of the decay off the optimum."""
RATES, DECAYS = 4, 4
COMPARISONS = 1000


def tuned(random: np.random.Generator) -> tuple[float, tuple[Axis, ...]]:
    """An arm's true loss at the setting that a search of one seed chose, its optimum anywhere in
    the middle cell; and the losses about it."""
    at = 1.0 + random.random(2)
    place = np.stack(np.meshgrid(range(RATES), range(DECAYS), indexing="ij"), axis=-1)
    true = ((place - at) ** 2 * CURVE).sum(axis=-1)
    seen = true + random.normal(0.0, NOISE, true.shape)
    x, y = np.unravel_index(seen.argmin(), seen.shape)
    lines = (seen[:, y], int(x)), (seen[x, :], int(y))
    axes = [tuple(line[i - 1 : i + 2]) for line, i in lines if 0 < i < len(line) - 1]
    return float(true[x, y]), tuple((float(a), float(b), float(c)) for a, b, c in axes)


def told_apart(gain: float, *, inside: bool) -> float:
    """How often two arms whose optima are `gain` apart are told apart over five fresh seeds, with
    the tuning's error inside the interval or without."""
    random = np.random.default_rng(5)
    told = 0
    for _ in range(COMPARISONS):
        (base, of_base), (arm, of_arm) = tuned(random), tuned(random)
        value = t_interval(list(arm - gain - base + random.normal(0.0, PAIRED, 5)))
        if inside:
            noise = (value.sd or 0.0) / math.sqrt(2.0)
            short = [short_of_optimum(axes, noise) for axes in (of_base, of_arm)]
            value = value.widened(math.hypot(*short))
        told += judge({"a": value})["a"].kind in ("better", "worse")
    return told / COMPARISONS


def test_equal_arms_are_seldom_told_apart_by_their_tuning() -> None:
    assert told_apart(0.0, inside=False) > 0.4
    assert told_apart(0.0, inside=True) <= 0.12


def test_what_is_better_by_more_than_the_tuning_is_still_found() -> None:
    assert told_apart(0.1, inside=True) > 0.9


def test_a_parabola_is_found_exactly() -> None:
    def loss(x: float) -> float:
        return 5.0 + 0.08 * (x - 0.3) ** 2

    assert short_of_optimum([(loss(-1), loss(0), loss(1))], 0.0) == pytest.approx(
        EVEN * 0.08 * 0.09
    )
    assert short_of_optimum([], 0.01) == 0.0
    assert short_of_optimum([(1.0, 1.0, 1.0)], 0.0) == 0.0


def test_wider_for_what_is_added() -> None:
    value = t_interval([0.01, 0.02, 0.03, 0.02])
    assert value.widened(0.0) == value
    wide = value.widened(0.02)
    assert wide.error == pytest.approx(math.hypot(value.error or 0.0, 0.02))
    assert (wide.half or 0.0) > (value.half or 0.0)
    assert 0.0 < wide.tuning < 1.0
