"""What a ladder says, against laws that are known: coverage, crossings, laws that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from harness.stats import ladder, law
from tests.stats import ladders as made

FEW, MANY = 150, 1000


def _within(rate: float, low: float, high: float, count: int) -> bool:
    """Whether a rate of so many draws is one of [low, high], with 2.6 standard errors (1 %) where
    draws are few; at `MANY` the bounds are taken as they are."""
    slack = 0.0 if count >= MANY else 2.6 * np.sqrt(0.9 * 0.1 / count)
    return low - slack <= rate <= high + slack


COUNTS = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_the_interval_of_the_multiplier_covers_the_truth(count: int) -> None:
    """From 3M to 135M parameters, 20 tokens each: the arms' exponents differ, and noise is
    estimated from two to four seeds."""
    of = made.made(made.laws(count, 11), 12)
    judged = ladder.judge(of.rungs)
    found, truth = judged.interval(made.TARGET, 0.9), made.true_gain(of, made.TARGET)
    rate = float(((found.low <= truth) & (truth <= found.high)).mean())
    print(f"90 % interval at 135M covers {rate:.1%} of {count}")
    assert _within(rate, 0.87, 0.93, count)
    width = found.high - found.low
    assert np.median(width) < 0.3, "an interval that tells nothing covers everything"
    assert _within(float(judged.does_not_fit.mean()), 0.0, 0.07, count)


@pytest.mark.parametrize("count", COUNTS)
def test_a_planted_crossing_is_flagged_and_none_is_made_up(count: int) -> None:
    """0.86 of the tokens at the smallest rung, 1.28 times as many at 135M; and no difference."""
    theta = made.laws(count, 21)
    planted = ladder.judge(made.made(made.crossed(theta, -0.15, 0.25), 22).rungs)
    flagged = float((planted.crossing(made.NEAR, made.TARGET) == -1).mean())
    alike = ladder.judge(made.made(made.crossed(theta, 0.0, 0.0), 23).rungs)
    false = float((alike.crossing(made.NEAR, made.TARGET) != 0).mean())
    print(f"crossing flagged {flagged:.1%}, false {false:.1%} of {count}")
    assert flagged >= (0.8 if count >= MANY else 0.72)
    assert false <= (0.05 if count >= MANY else 0.09)


@pytest.mark.parametrize("count", COUNTS)
def test_a_broken_power_is_noticed(count: int) -> None:
    """Above the middle of the ladder sizes are worth 0.15 nats a unit of ln size more, or less,
    than the law that holds below has it."""
    theta = made.laws(count, 31)
    for bent in (0.15, -0.15):
        judged = ladder.judge(made.made(theta, 32, bent=bent).rungs)
        noticed = float(judged.does_not_fit.mean())
        print(f"a break of {bent} noticed in {noticed:.1%} of {count}")
        assert noticed >= (0.8 if count >= MANY else 0.72)


def test_noise_free_ladders_give_back_their_law() -> None:
    of = made.made(made.laws(5, 41), 42, sd=1e-5)
    judged = ladder.judge(of.rungs)
    np.testing.assert_allclose(judged.gain(made.TARGET), made.true_gain(of, made.TARGET), atol=5e-3)
    assert (judged.shared < 0.05).all()


def test_a_forecast_of_a_rung_covers_it() -> None:
    """The largest rung's difference, from the three below: 90 % intervals over many ladders."""
    of = made.made(made.laws(300, 51), 52)
    top = of.rungs[-1]
    said = ladder.judge(of.rungs[:-1]).forecast(top.size, top.tokens, top.losses.shape[1])
    means = top.losses.mean(axis=1)
    away = np.abs(means[:, 1] - means[:, 0] - said.differences) / said.errors
    assert 0.84 <= float((away[:, -1] <= said.half(0.9)).mean()) <= 0.97
    assert 0.38 <= float((away[:, -1] <= said.half(0.5)).mean()) <= 0.64


def test_what_cannot_carry_a_law_is_refused() -> None:
    of = made.made(made.laws(1, 61), 62)
    with pytest.raises(ValueError, match="cells cannot carry"):
        ladder.judge(of.rungs[:1], ladder.noise(of.rungs))
    with pytest.raises(ValueError, match="two seeds"):
        ladder.noise([ladder.Rung(r.size, r.tokens, r.losses[:, :1]) for r in of.rungs])
    broken = of.rungs[0].losses.copy()
    broken[0, 0, 0, 0] = np.nan
    bad = ladder.Rung(of.rungs[0].size, of.rungs[0].tokens, broken)
    with pytest.raises(ValueError, match="finite"):
        ladder.judge([bad, *of.rungs[1:]], ladder.noise(of.rungs))


def test_slopes_are_the_derivatives_of_losses() -> None:
    theta = made.laws(2, 71)
    of = ladder.design(made.made(theta, 0).rungs)
    _, jac = law.slopes(theta, *of.logs())
    for place in range(9):
        step = np.zeros(9)
        step[place] = 1e-6
        up, down = (law.losses(theta + s * step, *of.logs()) for s in (1, -1))
        np.testing.assert_allclose(jac[:, :, place], (up - down) / 2e-6, atol=1e-6)


def test_an_arm_that_never_gets_as_far_has_no_upper_end() -> None:
    """Its size term ends higher than all that the reference has left at 135M."""
    theta = made.laws(8, 81, apart=0.0, terms=0.0)
    theta[:, law.ALPHA1] = np.log(0.05)
    of = made.made(theta, 82)
    judged = ladder.judge(of.rungs)
    found = judged.interval(made.TARGET, 0.9)
    assert np.isinf(made.true_gain(of, made.TARGET)).all()
    assert np.isinf(found.high).all()
    assert (found.low > 0.5).all()
