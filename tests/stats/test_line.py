"""The fit against numpy and scipy, on synthetic truth, and on the seed card's own table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.stats.line import Line, break_even, fit

EXACT = 1e-9
"""Both sides are least squares in doubles: only rounding differs."""


def test_the_fit_is_scipys_and_numpys():
    rng = np.random.default_rng(0)
    updates = np.repeat([300.0, 600.0, 1200.0], 5)
    seconds = 40.0 + 0.5 * updates + rng.normal(0, 2.0, len(updates))
    line = fit(list(updates), list(seconds))
    theirs = stats.linregress(updates, seconds)
    assert line.steady == pytest.approx(theirs.slope, rel=EXACT)
    assert line.fixed == pytest.approx(theirs.intercept, rel=EXACT)
    t = stats.t.ppf(0.975, len(updates) - 2)
    assert line.steady_interval() == pytest.approx(
        (theirs.slope - t * theirs.stderr, theirs.slope + t * theirs.stderr), rel=EXACT
    )
    assert line.fixed_interval() == pytest.approx(
        (
            theirs.intercept - t * theirs.intercept_stderr,
            theirs.intercept + t * theirs.intercept_stderr,
        ),
        rel=EXACT,
    )
    _, covariance = np.polyfit(updates, seconds, 1, cov=True)
    assert line.covariance == pytest.approx(
        (covariance[1, 1], covariance[0, 0], covariance[0, 1]), rel=1e-6
    )  # numpy scales the columns before it inverts, which costs a few digits
    assert line.residuals == pytest.approx(
        list(seconds - theirs.intercept - theirs.slope * updates), abs=1e-8
    )


def test_the_seed_cards_own_timings():
    """2.16 min at 300 and 6.32 min at 600 leave -2.0 min fixed; compiled, 2.92 min and 5.3/s."""
    eager, compiled = fit([300, 600], [2.16, 6.32]), fit([300, 600], [3.86, 4.80])
    assert eager.fixed == pytest.approx(-2.0)
    assert (compiled.fixed, 1 / (60 * compiled.steady)) == pytest.approx((2.92, 5.319), rel=1e-3)
    assert eager.fixed_interval() is None
    assert eager.spread is None
    found = break_even(compiled.minus(eager))
    # 4.92 min fixed apart, (4.16 - 0.94) / 300 min an update saved.
    assert found.updates == pytest.approx(4.92 * 300 / 3.22)
    assert found.interval is None


def test_one_length_fits_nothing():
    with pytest.raises(ValueError, match="two lengths"):
        fit([300, 300], [1.0, 2.0])
    with pytest.raises(ValueError, match="equally many"):
        fit([300, 600], [1.0])
    with pytest.raises(ValueError, match="finite"):
        fit([300, 600], [1.0, math.nan])


def test_break_evens_interval_covers_the_truth_in_95_percent():
    """Truth: 30 s more fixed, 0.2 s an update saved: 150 updates. Pairs share their noise."""
    rng = np.random.default_rng(1)
    lengths = np.repeat([100.0, 300.0], 5)
    truth, covered, found = 150.0, 0, []
    for _ in range(2000):
        base = 10 + 1.0 * lengths + rng.normal(0, 3.0, 10)
        variant = base + 30 - 0.2 * lengths + rng.normal(0, 1.5, 10)
        one = break_even(fit(list(lengths), list(variant - base)))
        assert one.interval is not None
        found.append(one.updates)
        covered += one.interval[0] <= truth <= one.interval[1]
    assert np.median(found) == pytest.approx(truth, rel=0.02)
    # Nominal 0.95; the standard error over 2,000 is 0.005, and the method is of first order.
    assert 0.93 <= covered / 2000 <= 0.97


def line(fixed: float, steady: float, wide: float = 1e-6) -> Line:
    return Line(fixed, steady, (), 8, (wide, wide, 0.0))


@pytest.mark.parametrize(
    ("difference", "reason"),
    [
        (line(5.0, 0.1), "never: slower"),
        (line(5.0, 0.0), "never: as fast"),
        (line(-5.0, 0.1), "starts sooner"),
        (line(-5.0, -0.1), "always"),
        (line(5.0, -0.1, wide=1.0), "not resolved"),
    ],
)
def test_where_lines_do_not_cross_it_says_why(difference, reason):
    found = break_even(difference)
    assert (found.updates, found.interval) == (None, None)
    assert reason in found.reason


def test_independent_fits_add_their_variances():
    a, b = line(5.0, 0.1, 0.04), line(3.0, 0.2, 0.09)
    difference = a.minus(b)
    assert (difference.fixed, difference.steady) == pytest.approx((2.0, -0.1))
    assert difference.covariance == pytest.approx((0.13, 0.13, 0.0))
