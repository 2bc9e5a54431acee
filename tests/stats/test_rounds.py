"""Ratios of interleaved rounds: what they are, and that their interval covers."""

import math
import random

import pytest
from scipy import stats

from harness.stats import rounds as ratios


def test_a_ratio_is_made_within_rounds_so_that_a_drift_does_not_count():
    slow, fast = [[2.0], [4.0], [8.0]], [[1.0], [2.0], [4.0]]
    assert ratios.ratio(slow, fast) == ratios.Ratio(2.0, 2.0, 2.0)
    assert ratios.median(slow) == 4.0  # while the medians alone would also have said 2


def test_the_interval_is_t_on_the_log_ratio():
    generator = random.Random(0)
    base = [[math.exp(generator.gauss(0.0, 0.1))] for _ in range(6)]
    other = [[math.exp(generator.gauss(-0.5, 0.1))] for _ in range(6)]
    found = ratios.ratio(base, other)
    logs = [math.log(b[0] / o[0]) for b, o in zip(base, other, strict=True)]
    low, high = stats.t.interval(0.95, 5, loc=sum(logs) / 6, scale=stats.sem(logs))
    assert found.low == pytest.approx(math.exp(low), rel=1e-9)
    assert found.high == pytest.approx(math.exp(high), rel=1e-9)


def test_one_round_has_a_ratio_and_no_interval():
    assert ratios.ratio([[3.0]], [[2.0]]) == ratios.Ratio(1.5, None, None)
    assert ratios.ratio([[3.0]], [[2.0]]).text == "1.50"
    with pytest.raises(ValueError, match="at least one round"):
        ratios.ratio([], [])


def test_rounds_go_forwards_and_backwards():
    assert [ratios.order("abc", n) for n in range(3)] == [list("abc"), list("cba"), list("abc")]


def test_the_spread_is_that_of_all_timings():
    assert ratios.interquartile_range([[1.0, 2.0], [3.0, 4.0, 5.0]]) == pytest.approx(2.0)
    assert ratios.interquartile_range([[1.0]]) == 0.0
