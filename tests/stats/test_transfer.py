"""Whether rates carry over sizes: searches with a planted power of the width."""

from __future__ import annotations

import numpy as np
import pytest

from harness.stats.transfer import Searched, transfer

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
WIDTHS = (32.0, 48.0, 64.0)


def _searched(
    width: float, best: float, noise: float, seed: int = 0, used: float = 0.02
) -> Searched:
    """Two seeds of a parabola of 0.05 nats at twice the best rate, about rates of a fixed grid."""
    rates = tuple(used * factor for factor in FACTORS)
    away = np.log2(np.array(rates) / best)
    draw = np.random.default_rng(seed)
    return Searched(width, rates, 5.0 + 0.05 * away**2 + draw.normal(0, noise, (2, len(rates))))


def test_a_planted_power_is_found() -> None:
    sizes = [_searched(w, 0.03 * (w / 32) ** -0.5, noise=0.0) for w in WIDTHS]
    law = transfer(sizes)
    assert law.exponent == pytest.approx(-0.5, abs=1e-9), "a parabola is found exactly"
    assert law.expected == pytest.approx(law.found) == pytest.approx(0.03 * 2**-0.5)
    assert law.cost == pytest.approx(0.0, abs=1e-9)


def test_what_does_not_transfer_is_said_with_its_cost() -> None:
    """The third size wants twice the rate of the law: a parabola's 0.05 nats."""
    sizes = [_searched(w, 0.02, noise=0.0) for w in WIDTHS[:2]] + [_searched(64.0, 0.04, 0.0)]
    law = transfer(sizes)
    assert law.cost == pytest.approx(0.05)
    assert not law.holds


def test_equal_optima_hold_and_a_factor_of_two_does_not_in_most_cases() -> None:
    """With noise of 0.004 nats a run: 0.05 nats are nine spreads of a difference."""
    held = missed = 0
    for seed in range(100):
        like = [_searched(w, 0.02, 0.004, 10 * seed + i) for i, w in enumerate(WIDTHS)]
        held += transfer(like).holds
        other = [*like[:2], _searched(64.0, 0.04, 0.004, 10 * seed + 7)]
        missed += not transfer(other).holds
    assert held >= 80, "an error of the exponent costs the square of what it is off"
    assert missed >= 95


def test_noise_is_that_of_a_difference_of_two_seeds() -> None:
    many = [_searched(32.0, 0.02, 0.01, seed).noise for seed in range(400)]
    spread = np.sqrt(np.mean(np.square(many)))
    assert spread == pytest.approx(0.01 * 2**0.5, rel=0.05)  # 1,200 degrees of freedom: 2 %


def test_an_edge_or_two_sizes_carry_no_law() -> None:
    edge = _searched(64.0, 0.5, 0.0)
    with pytest.raises(ValueError, match="edge"):
        transfer([_searched(32.0, 0.02, 0.0), _searched(48.0, 0.02, 0.0), edge])
    with pytest.raises(ValueError, match="three sizes"):
        transfer([_searched(32.0, 0.02, 0.0), _searched(48.0, 0.02, 0.0)])
    whole = [_searched(w, 0.02, 0.0) for w in WIDTHS]
    with pytest.raises(ValueError, match="two seeds"):
        transfer([Searched(one.width, one.rates, one.losses[:1]) for one in whole])
