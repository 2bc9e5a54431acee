"""How much narrower an interval is expected to get, against simulated truth."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

from harness.stats import ladder, law
from harness.stats.crossed import crossed_difference, squares
from harness.stats.inference import half_width, t_interval
from harness.stats.narrowing import UNENDING, More, expected, ladder_ratio
from tests.stats import ladders as made

TOLD = 0.03
"""What the means may differ by: the standard error of 1,200 half-widths on four seeds is 1 %, and
Satterthwaite's degrees of freedom are an approximation."""


def drawn(seeds: int, spreads: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """(seeds, 60) nats of documents of 1,000 tokens: of a seed, a document and a cell."""
    of_seed, of_document, of_cell = (
        sd * rng.normal(size=shape)
        for sd, shape in zip(spreads, ((seeds, 1), (1, 60), (seeds, 60)), strict=True)
    )
    return np.asarray((of_seed + of_document + of_cell) * 1000.0)


@pytest.mark.parametrize(
    "spreads",
    [(0.02, 0.0, 0.05), (0.02, 0.08, 0.05), (0.01, 0.3, 0.1)],
    ids=["seeds", "both", "documents"],
)
@pytest.mark.parametrize(("now", "later"), [(3, 4), (4, 8)])
def test_the_expected_width_is_the_mean_of_those_that_come(
    spreads: tuple[float, float, float], now: int, later: int
) -> None:
    rng, tokens = np.random.default_rng(3), np.full(60, 1000.0)
    said, came, held = [], [], []
    for _ in range(1200):
        nats = drawn(later, spreads, rng)
        means = nats.sum(axis=1) / tokens.sum()
        first = crossed_difference(means[:now], nats[:now], tokens)
        of = squares(means[:now], nats[:now], tokens)
        after = expected(first, of, later, 0.95)
        assert after is not None
        said.append(after.half)
        came.append(crossed_difference(means, nats, tokens).half)
        held.append(first.half)
    assert np.mean(said) == pytest.approx(np.mean(came), rel=TOLD)
    assert np.mean(said) < np.mean(held)


def test_over_seeds_alone_it_is_exact_and_without_the_mean_of_a_small_spread_it_is_not() -> None:
    rng = np.random.default_rng(5)
    draws = rng.normal(size=(4000, 4))
    pairs = [(t_interval(list(d[:3])), t_interval(list(d))) for d in draws]
    said = np.mean([expected(first, None, 4, 0.95).half for first, _ in pairs])  # type: ignore[union-attr]
    came = np.mean([last.half for _, last in pairs])
    assert said == pytest.approx(came, rel=0.02)  # the standard error is 0.7 %
    naive = np.mean([first.sd for first, _ in pairs]) / 2.0 * half_width(1.0, 3, 0.95)
    assert naive < 0.97 * came


def test_documents_and_tuning_leave_a_floor_that_no_seed_goes_below() -> None:
    rng, tokens = np.random.default_rng(7), np.full(60, 1000.0)
    nats = drawn(5, (0.01, 0.3, 0.1), rng)
    means = nats.sum(axis=1) / tokens.sum()
    now, of = crossed_difference(means, nats, tokens), squares(means, nats, tokens)
    assert expected(now, of, 5, 0.95) == now
    floor = expected(now, of, UNENDING, 0.95)
    assert floor is not None
    assert floor.half == pytest.approx(half_width(0.3 / 60**0.5, 59, 0.95), rel=0.25)
    assert floor.shares is not None
    assert floor.shares.documents > 0.999
    tuned = expected(now, of, UNENDING, 0.95, tuning=0.1)
    assert tuned is not None
    assert tuned.error == pytest.approx((floor.error**2 + 0.1**2) ** 0.5)  # type: ignore[operator]
    alone = expected(t_interval(list(means)), None, UNENDING, 0.95)
    assert alone is not None
    assert alone.half < 1e-4
    assert expected(t_interval([1.0]), None, 4, 0.95) is None
    assert expected(now, of, 1, 0.95) is None


SEEDS = (4, 4, 3, 2)


def of_ladder(rows: int, seed: int) -> made.Made:
    """So many ladders of one law, a seed more at each rung than `SEEDS`."""
    theta = made.crossed(made.laws(1, 3), -0.2, -0.1)
    with mock.patch.object(made, "SEEDS", tuple(n + 1 for n in SEEDS)):
        return made.made(np.repeat(theta, rows, axis=0), seed)


def seeds_of(of: made.Made, counts: tuple[int, ...]) -> list[ladder.Rung]:
    """The ladder with so many of its seeds at each rung."""
    return [
        ladder.Rung(r.size, r.tokens, r.losses[:, :n])
        for r, n in zip(of.rungs, counts, strict=True)
    ]


def widths(rungs: list[ladder.Rung]) -> np.ndarray:
    ends = ladder.judge(rungs).interval(made.TARGET, 0.9)
    return np.asarray(ends.high - ends.low)


def test_the_slope_of_the_multiplier_is_its_differential() -> None:
    judged = ladder.judge(of_ladder(3, 1).rungs)
    slope = law.gain_slopes(judged.fits, made.TARGET)
    for place in range(9):
        step = np.zeros(9)
        step[place] = 1e-5
        ends = [
            law.gain(
                law.Fits(judged.fits.design, law.OWN, judged.fits.theta + sign * step,
                         judged.fits.chi2, judged.fits.objective, judged.fits.covariance),
                made.TARGET,
            )
            for sign in (1.0, -1.0)
        ]  # fmt: skip
        assert slope[:, place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6)
    never = made.laws(1, 3)
    never[:, law.A1] += 3.0
    lost = law.Fits(judged.fits.design, law.OWN, never, *[np.zeros(1)] * 3)
    assert np.isnan(law.gain_slopes(lost, made.TARGET)).all()


@pytest.mark.parametrize("rows", [30, pytest.param(120, marks=pytest.mark.slow)])
def test_a_rung_s_next_seed_narrows_the_multiplier_as_simulated_ladders_say(rows: int) -> None:
    of = of_ladder(rows, 2)
    now = seeds_of(of, SEEDS)
    judged, before = ladder.judge(now), widths(now).mean()
    said, came = [], []
    for place, rung in enumerate(now):
        more = More(rung.size, rung.tokens, SEEDS[place])
        said.append(np.median(ladder_ratio(judged, made.TARGET, 0.9, more)))
        counts = tuple(n + (place == at) for at, n in enumerate(SEEDS))
        came.append(widths(seeds_of(of, counts)).mean() / before)
    # Two standard errors of a mean of ratios that spread by 0.1.
    assert said == pytest.approx(came, abs=0.2 / rows**0.5)
    ranks = [np.argsort(ratios).tolist() for ratios in (said, came)]
    assert ranks[0] == ranks[1] if rows > 100 else ranks[0][0] == ranks[1][0]
    # A rung that is not there yet is worth most: it reaches furthest towards the target.
    fewer = now[:3]
    top = More(now[3].size, now[3].tokens, 0, SEEDS[3])
    new = np.median(ladder_ratio(ladder.judge(fewer), made.TARGET, 0.9, top))
    assert new == pytest.approx(before / widths(fewer).mean(), abs=0.1)
    assert new < 0.75
