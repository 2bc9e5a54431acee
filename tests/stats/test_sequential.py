"""Sequential designs against simulated truth: false alarms, seeds saved, power, coverage."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import special

from harness.errors import RequestError
from harness.recipe import LOOKS, Sequential
from harness.stats import sequential

EXPERIMENTS = 10_000
"""The standard error of a rate of 5 % is then 0.22 %, of one of 93 % 0.26 %."""


@cache
def outcomes(effect: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(found, pairs, covered, found by eight pairs at 5 %) of experiments whose pairs differ by
    `effect` paired standard deviations."""
    draws = np.random.default_rng(2).normal(effect, 1.0, (EXPERIMENTS, 8))
    counts = np.arange(1, 9)
    means = draws.cumsum(axis=1) / counts
    squares = (draws**2).cumsum(axis=1) - counts * means**2
    errors = np.sqrt(squares[:, 1:] / counts[:-1] / counts[1:])
    t = np.abs(means[:, 1:] / errors)
    p = 2.0 * special.stdtr(counts[:-1], -t)
    found, pairs, covered = [], [], []
    for i in range(EXPERIMENTS):
        end = sequential.stop(lambda n, i=i: float(p[i, n - 2]), 8, Sequential(max=8).looks)
        assert end is not None
        half = special.stdtrit(end.pairs - 1, 0.5 + end.level / 2) * errors[i, end.pairs - 2]
        found.append(end.why == "found" or p[i, end.pairs - 2] <= 1.0 - end.level)
        pairs.append(end.pairs)
        covered.append(abs(means[i, end.pairs - 1] - effect) <= half)
    return np.array(found), np.array(pairs), np.array(covered), p[:, -1] <= 0.05


def test_five_percent_false_alarms_and_a_third_fewer_seeds() -> None:
    found, pairs, covered, _ = outcomes(0.0)
    assert 0.043 <= found.mean() <= 0.057
    assert 0.62 <= pairs.mean() / 8 <= 0.71
    assert covered.mean() >= 0.94


def test_power_within_three_points_of_all_eight() -> None:
    found, pairs, covered, at_once = outcomes(1.5)
    assert at_once.mean() - found.mean() <= 0.03
    assert pairs.mean() < 6.6
    assert covered.mean() >= 0.94


def test_looking_without_a_rule_would_not() -> None:
    """What the levels are for: a test at 5 % after each pair finds something in one of seven."""
    draws = np.random.default_rng(2).normal(0.0, 1.0, (EXPERIMENTS, 8))
    peeked = np.zeros(EXPERIMENTS, dtype=bool)
    for n in range(3, 9):
        t = draws[:, :n].mean(1) / draws[:, :n].std(1, ddof=1) * np.sqrt(n)
        peeked |= 2.0 * special.stdtr(n - 1, -np.abs(t)) <= 0.05
    assert peeked.mean() > 0.12


def test_the_rule_by_hand() -> None:
    def stop(*p_values: float, most: int = 8, family: int = 1) -> sequential.Stop | None:
        looks = Sequential(max=most).looks
        return sequential.stop(lambda n: p_values[n - 3], len(p_values) + 2, looks, family)

    assert stop(0.001) is None
    assert stop(0.0004) == (3, 1 - 0.0005, "found")
    assert stop(0.0004, family=2) is None
    assert stop(0.9) is None  # too early to give up
    assert stop(0.9, 0.51) == (4, 1 - 0.0026, "futile")
    assert stop(0.3, 0.3, 0.3, 0.3, 0.3) is None
    assert stop(*[0.3] * 6) == (8, 1 - 0.0334, "last")
    # The first stop counts, whatever later seeds say.
    assert stop(0.3, 0.6, 0.00001) == (4, 1 - 0.0026, "futile")
    assert stop(0.3, 0.3, most=4) == (4, 1 - 0.0026, "last")
    assert len(LOOKS) == 6
    for wrong in (3, 9):
        with pytest.raises(RequestError, match="4 to 8 seeds"):
            Sequential(max=wrong)
