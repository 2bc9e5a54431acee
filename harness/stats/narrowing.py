"""How much narrower an interval is expected to get by more seeds, before they are run. Pure.

Expected is the mean over what the seeds may bring: a standard deviation of few values is on
average too small, and more of them mend that, so that an interval narrows a little less than t and
1/sqrt(n) alone say. Nothing here looks at where an interval lies, only at how wide it is: a choice
by these numbers cannot favour an answer. Held against simulated truth
(tests/stats/test_narrowing.py).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import scipy  # `scipy.special` loads when it is first asked for: a quarter of a second

from harness.stats import law
from harness.stats.crossed import Squares
from harness.stats.inference import Estimate, half_width
from harness.stats.ladder import Judged
from harness.stats.law import Array, Design, Spot

UNENDING = 10**6
"""Seeds that stand for any number of them."""


def expected(
    now: Estimate, squares: Squares | None, pairs: int, level: float, tuning: float = 0.0
) -> Estimate | None:
    """What so many `pairs` are expected to leave of an estimate, at `level`: seeds' part of its
    variance shrinks, the documents' and the `tuning`'s (an error of its own) do not.

    `now` is of at least two pairs and holds no tuning; `squares` are its mean squares, None where
    it is over seeds alone. None below two pairs.
    """
    if now.sd is None or pairs < 2:
        return None
    if squares is None:
        error, df, shares = now.sd / pairs**0.5, float(pairs - 1), None
    else:
        later = squares.with_seeds(pairs)
        error, df, shares = later.error, later.df, later.shares
    half = half_width(error, df, level)
    found = Estimate(pairs, now.mean, now.sd, half, level, error, df, shares).widened(tuning)
    assert found.half is not None
    return dataclasses.replace(found, half=found.half * _shortfall(df) / _shortfall(now.df))


def _shortfall(df: float) -> float:
    """The mean of a standard deviation of so many degrees of freedom, a part of the true one."""
    log = scipy.special.gammaln((df + 1.0) / 2.0) - scipy.special.gammaln(df / 2.0)
    return float(np.exp(log) * (2.0 / df) ** 0.5)


@dataclass(frozen=True)
class More:
    """Seeds that may be bought at one rung of a ladder: both arms, all budgets."""

    size: float
    """The reference's parameters."""
    tokens: tuple[float, ...]
    """The budgets, ascending."""
    have: int
    """Seeds that are there; 0 for a rung that was not run."""
    seeds: int = 1
    """How many more."""


def ladder_ratio(judged: Judged, at: Spot, level: float, more: More) -> Array:
    """(R,) the half-width of ln multiplier at a point that is expected with more seeds at a rung,
    as a part of the one now; NaN where the multiplier is infinite.

    The law is taken as linear about the fit: what a cell tells of the parameters is its slope over
    its noise, and information adds up. How well the noise is known comes in by Student's t.
    """
    count = len(more.tokens)
    cells = Design(np.repeat([0, 1], count), np.full(2 * count, more.size), np.tile(more.tokens, 2))
    fits = judged.fits
    _, jac = law.slopes(fits.theta, *fits.design.logs(cells))
    weight = np.linalg.inv(judged.noise.at(more.size, 1))
    added = more.seeds * np.swapaxes(jac, 1, 2) @ weight @ jac
    later = np.linalg.inv(np.linalg.inv(fits.covariance) + added)
    slope = law.gain_slopes(fits, at)
    variances = [np.einsum("ri,rij,rj->r", slope, of, slope) for of in (fits.covariance, later)]
    df = judged.noise.seeds
    more_df = df + more.seeds - (more.have == 0)  # of a new rung, one seed goes for its mean
    ratio = np.sqrt(variances[1] / variances[0])
    return np.asarray(ratio * half_width(1.0, more_df, level) / half_width(1.0, df, level))
