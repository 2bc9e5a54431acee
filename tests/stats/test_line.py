"""Break-even against a t test at every length, on planted truth, and every reason for no number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.stats.line import REACH, break_even

LONGEST = 48
"""Updates of the longest simulated launch; the shorter ones have 12."""
CAMPAIGNS = 1000
"""The standard error of a rate near 95 % is then 0.7 %."""


@pytest.mark.parametrize("level", [0.95, 0.975])
def test_the_interval_is_where_a_t_test_cannot_tell_the_two_apart(level: float) -> None:
    rng = np.random.default_rng(0)
    fixed, saved = rng.normal(9.0, 1.5, 6), rng.normal(0.3, 0.02, 6)
    found = break_even(list(fixed), list(saved), 1e6, level)
    lengths = np.linspace(0.0, 100.0, 20_001)  # steps of 0.005 updates
    p_values = stats.ttest_1samp(fixed[:, None] - saved[:, None] * lengths, 0.0).pvalue
    unsure = lengths[p_values >= 1.0 - level]
    assert found.interval == pytest.approx((unsure[0], unsure[-1]), abs=0.01)
    assert found.updates == pytest.approx(fixed.mean() / saved.mean())
    assert found.pays_at(unsure[-1] + 0.01)
    assert not found.pays_at(found.updates)


def campaigns(truth: float, saving: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Extra fixed seconds and seconds saved an update, block by block, of launches on a machine
    whose speed differs between blocks (8 %) and launches (5 %) and whose compiler takes as it
    likes; an update of the base takes half a second."""
    rng = np.random.default_rng(seed)
    size = (CAMPAIGNS, 5, 2)
    block = np.exp(rng.normal(0.0, 0.08, (CAMPAIGNS, 5, 1)))
    base = 0.5 * block * np.exp(rng.normal(0.0, 0.05, size))
    variant = (0.5 - saving) * block * np.exp(rng.normal(0.0, 0.05, size))
    fixed = saving * truth * (1.0 + rng.normal(0.0, 0.15, size)) + rng.normal(0.0, 0.5, size)
    return fixed.mean(2), (base - variant).mean(2)


@pytest.mark.parametrize("saving", [0.1, 0.04])
@pytest.mark.parametrize("times", [0.5, 1.0, 1.4, 2.0, 3.0])
def test_what_is_said_of_a_break_even_is_true(times: float, saving: float) -> None:
    truth, limit = times * LONGEST, REACH * LONGEST
    fixed, saved = campaigns(truth, saving, seed=int(10 * times))
    true = printed = 0
    for a, b in zip(fixed.tolist(), saved.tolist(), strict=True):
        found = break_even(a, b, LONGEST)
        low, high = found.interval or (min(found.at_least, limit), math.inf)
        true += low <= truth <= high
        printed += found.interval is not None
        assert max(found.updates or 0.0, (found.interval or (0.0, 0.0))[1]) <= limit
    assert true / CAMPAIGNS >= 0.93
    if saving == 0.1 and times == 0.5:
        assert printed / CAMPAIGNS > 0.8  # a rule that never prints would pass the above
    if truth > limit:
        assert printed / CAMPAIGNS <= 0.05


@pytest.mark.parametrize("times", [0.5, 1.0, 3.0])
def test_an_interval_covers_the_truth_in_95_percent(times: float) -> None:
    truth = times * LONGEST
    fixed, saved = campaigns(truth, 0.1, seed=3)
    found = [break_even(a, b, 1e9) for a, b in zip(fixed.tolist(), saved.tolist(), strict=True)]
    shown = [one.interval for one in found if one.interval]
    assert len(shown) > 0.95 * CAMPAIGNS
    assert 0.90 <= np.mean([low <= truth <= high for low, high in shown]) <= 0.98


STEADY = [0.10, 0.11, 0.09, 0.10, 0.10]


@pytest.mark.parametrize(
    ("fixed", "saved", "text"),
    [
        ([5.0, 5.1, 4.9, 5.0, 5.2], STEADY, "50 ["),
        ([-5.0, -5.1, -4.9, -5.0, -5.2], STEADY, "always: starts no later and is faster"),
        ([5.0, 5.1, 4.9, 5.0, 5.2], [-s for s in STEADY], "never: slower afterwards"),
        ([-5.0, -5.1, -4.9, -5.0, -5.2], [-s for s in STEADY], "starts sooner and is slower"),
        ([15.0, 15.1, 14.9, 15.0, 15.2], STEADY, "not within 72 updates"),
        ([6.9, 7.1, 6.6, 7.0, 7.4], STEADY, "not resolved within 72 updates: at least 6"),
        ([5.0, 5.0, 5.0], [0.3, -0.2, 0.1], "not resolved within 72 updates: at least"),
        ([5.0, -5.0, 1.0], [0.3, -0.2, 0.1], "not resolved within 72 updates"),
        ([-5.0, -5.0, -5.0], [0.3, -0.2, 0.1], "not resolved within 72 updates"),
        ([5.0, 5.0], [0.0, 0.0], "not within 72 updates"),
    ],
)
def test_what_is_printed(fixed: list[float], saved: list[float], text: str) -> None:
    found = break_even(fixed, saved, LONGEST)
    assert found.text.startswith(text)
    assert (found.updates is None) == (found.interval is None) == (found.reason is not None)
    assert found.pays_at(70) == (text.startswith(("50", "always")))


def test_a_single_block_breaks_nothing_even() -> None:
    with pytest.raises(ValueError, match="two blocks"):
        break_even([5.0], [0.1], LONGEST)
    with pytest.raises(ValueError, match="two blocks"):
        break_even([5.0, 5.0], [0.1], LONGEST)
    with pytest.raises(ValueError, match="finite"):
        break_even([5.0, math.nan], [0.1, 0.1], LONGEST)
