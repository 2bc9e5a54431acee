"""Intervals over documents."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.stats.bootstrap import bits_per_byte_interval


def test_it_agrees_with_scipys_percentile_bootstrap() -> None:
    from scipy import stats

    generator = np.random.default_rng(1)
    sizes = generator.integers(200, 4000, 60)
    nats = sizes * generator.normal(0.7, 0.15, 60)

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return a.sum(axis) / b.sum(axis) / math.log(2)

    theirs = stats.bootstrap(
        (nats, sizes), ratio, paired=True, vectorized=True, method="percentile",
        n_resamples=20_000, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    ours = bits_per_byte_interval(nats, sizes)
    assert ours is not None
    width = theirs.high - theirs.low
    # Quantiles of 10,000 draws wander by a few percent of the interval's width.
    assert ours[0] == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours[1] == pytest.approx(theirs.high, abs=0.05 * width)


def test_the_same_seed_gives_the_same_interval_and_another_does_not() -> None:
    sizes = np.arange(20, 60)
    nats = sizes * np.random.default_rng(0).normal(1.0, 0.3, 40)
    assert bits_per_byte_interval(nats, sizes) == bits_per_byte_interval(nats, sizes)
    assert bits_per_byte_interval(nats, sizes) != bits_per_byte_interval(nats, sizes, seed=1)


def test_its_coverage_is_near_what_it_says() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        sizes = generator.integers(500, 1500, 80)
        nats = sizes * generator.normal(1.0, 0.2, 80)
        low, high = bits_per_byte_interval(nats, sizes, resamples=500, seed=trial) or (0.0, 0.0)
        covered += low <= 1.0 / math.log(2) <= high
    # 95 % of 200 with a binomial spread of 3; percentile intervals fall a little short.
    assert 180 <= covered <= 199


def test_edges() -> None:
    assert bits_per_byte_interval([1.0], [2]) is None
    assert bits_per_byte_interval([1.0, 9.0], [2, 0]) is None
    low, high = bits_per_byte_interval([1.0, 2.0], [1, 2]) or (0.0, 0.0)
    assert low == high == pytest.approx(1 / math.log(2))
    with pytest.raises(ValueError, match="do not pair"):
        bits_per_byte_interval([1.0], [2, 3])
    with pytest.raises(ValueError, match="finite"):
        bits_per_byte_interval([1.0, math.nan], [2, 3])
