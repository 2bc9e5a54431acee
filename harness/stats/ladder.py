"""What a ladder says: noise by rung, the compute multiplier and its interval, a crossing, a law
that does not fit, the forecast of a rung that was not run. Pure.

The multiplier at (N, D) is the share of the reference's tokens, and so of its compute at that size,
with which the arm reaches the reference's loss. Its interval is of profile likelihood: all
multipliers with which the law, everything else fitted again, is not surely worse. Exponents are
each arm's own in it whatever the test of shared ones says, since a test that finds no difference
over a decade of sizes is no licence to extrapolate two more with none. Simulated ladders hold its
coverage (tests/stats/test_ladder.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy  # `scipy.special` loads when it is first asked for: a quarter of a second

from harness.stats import law
from harness.stats.law import OWN, SHARED, Array, Design, Fits, Held, Spot

LEVELS = (0.5, 0.9)
MISFIT = 0.05
"""The level at which a law is said not to fit, and exponents not to be shared."""
FURTHEST = 3.0
"""ln multipliers are looked for this far from 0: a factor of 20; beyond it an end is open."""
HALVINGS = 9
SPENT = 2.0
"""Degrees of freedom that seeds give for each that a test of the law is taken to rest on: pattern,
slope and the weights of the fit are estimated from them too. An interval rests on seeds alone. Both
by simulation: without them, a 90 % interval covers 88 and a test at 5 % rejects 9."""


@dataclass(frozen=True)
class Rung:
    """One size of a ladder."""

    size: float
    """The reference's parameters."""
    tokens: tuple[float, ...]
    """J budgets, ascending."""
    losses: Array
    """(R, S, 2, J) of R ladders (one, where it is no simulation), S seeds, reference and arm."""


@dataclass(frozen=True)
class Noise:
    """How losses spread over seeds."""

    covariance: Array
    """(R, 2 J, 2 J) of one seed at the ladder's middle, cells by arm and then by budget."""
    slope: Array
    """(R,) by which ln sd falls a unit of ln size."""
    middle: float
    """ln of the size where `covariance` holds."""
    df: Array
    """(R,) degrees of freedom of the pattern, for tests of the law."""
    seeds: float
    """Degrees of freedom of an interval: seeds less one, of all rungs."""

    def at(self, size: float, seeds: int) -> Array:
        """(R, 2 J, 2 J) of the means over so many seeds at a size."""
        factor = np.exp(-2.0 * self.slope * (np.log(size) - self.middle)) / seeds
        return np.asarray(self.covariance * factor[:, None, None])


def noise(rungs: Sequence[Rung]) -> Noise:
    """The spread over seeds: one pattern of correlation between arms (which share their data's
    order) and budgets (of one stem), and a size that may fall with the rung's, never rise.

    Raises ValueError below two seeds at some two rungs.
    """
    known = [rung for rung in rungs if rung.losses.shape[1] > 1]
    if len(known) < 2:
        raise ValueError("noise needs two seeds at two rungs at least")
    rests, logs, weights, places = [], [], [], []
    for rung in known:
        flat = rung.losses.reshape(*rung.losses.shape[:2], -1)
        rest = flat - flat.mean(axis=1, keepdims=True)
        count = flat.shape[1] - 1
        variance = (rest**2).sum(axis=(1, 2)) / (count * flat.shape[2])
        rests.append(rest)
        logs.append(0.5 * np.log(np.maximum(variance, 1e-12)))
        weights.append(float(count))
        places.append(np.log(rung.size))
    w, x, y = np.array(weights), np.array(places), np.stack(logs, axis=1)
    middle = float((w * x).sum() / w.sum())
    slope = (
        -((w * (x - middle)) * (y - (y * w).sum(axis=1, keepdims=True) / w.sum())).sum(axis=1)
        / (w * (x - middle) ** 2).sum()
    )
    slope = np.clip(slope, 0.0, 0.5)
    pooled = np.zeros((len(y), rests[0].shape[2], rests[0].shape[2]))
    for rest, place in zip(rests, places, strict=True):
        scaled = rest * np.exp(slope * (place - middle))[:, None, None]
        pooled += np.swapaxes(scaled, 1, 2) @ scaled
    pooled /= w.sum()
    pattern = _pattern(pooled)
    width = pattern.shape[1]
    alike = np.einsum("rii->r", pattern) ** 2 / (pattern**2).sum(axis=(1, 2))
    return Noise(pattern, slope, middle, w.sum() * np.minimum(alike, width) / SPENT, float(w.sum()))


def _pattern(pooled: Array) -> Array:
    """The covariance with its four different entries averaged: a cell's own, the same arm at
    another budget, the other arm at the same, the other arm at another. Never indefinite."""
    width = pooled.shape[1]
    budgets = width // 2
    arm, budget = np.repeat([0, 1], budgets), np.tile(np.arange(budgets), 2)
    same_arm, same_budget = arm[:, None] == arm, budget[:, None] == budget
    found = np.zeros_like(pooled)
    for of_arm in (True, False):
        for of_budget in (True, False):
            where = (same_arm == of_arm) & (same_budget == of_budget)
            if where.any():
                found[:, where] = pooled[:, where].mean(axis=1)[:, None]
    values, vectors = np.linalg.eigh(found)
    least = 0.05 * np.einsum("rii->r", found)[:, None] / width
    values = np.maximum(values, np.maximum(least, 1e-10))
    return np.asarray((vectors * values[:, None, :]) @ np.swapaxes(vectors, 1, 2))


class Ends(NamedTuple):
    """Of ln multipliers: (R,) each; infinite where an end is open."""

    low: Array
    high: Array


@dataclass(frozen=True)
class Judged:
    """What R ladders say."""

    fits: Fits
    noise: Noise
    misfit: Array
    """(R,) p-value of the law: small, and it does not fit."""
    shared: Array
    """(R,) p-value of exponents shared by both arms."""
    whiten: Array
    means: Array
    tied: Array
    """(R, 9) the parameters with shared exponents: where a constrained fit can always begin."""

    @property
    def does_not_fit(self) -> Array:
        """(R,) whether the law is refuted."""
        return np.asarray(self.misfit < MISFIT)

    def gain(self, at: Spot) -> Array:
        """(R,) ln multiplier at a point."""
        return law.gain(self.fits, at)

    def interval(self, at: Spot, level: float) -> Ends:
        """The profile interval of ln multipliers, by halving between the estimate and what is
        surely outside. Where the estimate is infinite there is no upper end."""
        allowed = np.full(
            len(self.means), scipy.special.stdtrit(self.noise.seeds, 0.5 + level / 2.0) ** 2
        )
        centre = np.clip(self.gain(at), -FURTHEST, FURTHEST)
        return Ends(self._end(at, centre, -1.0, allowed), self._end(at, centre, 1.0, allowed))

    def _end(self, at: Spot, centre: Array, side: float, allowed: Array) -> Array:
        inside, outside = centre, np.full_like(centre, side * FURTHEST)
        theta = self.fits.theta
        # The furthest is asked on the way out, so that each fit begins near the last.
        steps = np.array([0.02, 0.05, 0.12, 0.3, 0.8, 2.0, 2.0 * FURTHEST])
        found, theta = self._worse(at, centre, theta, allowed)
        outside = np.where(found, centre, outside)
        for step in steps:
            tried = np.clip(centre + side * step, -FURTHEST, FURTHEST)
            worse, theta = self._worse(at, tried, theta, allowed)
            outside = np.where(worse & ~found, tried, outside)
            inside = np.where(~worse & ~found, tried, inside)
            found |= worse
            if found.all():
                break
        for _ in range(HALVINGS):
            tried = (inside + outside) / 2.0
            worse, theta = self._worse(at, tried, theta, allowed)
            inside, outside = np.where(worse, inside, tried), np.where(worse, tried, outside)
        ends = np.where(found, (inside + outside) / 2.0, side * np.inf)
        never = np.isinf(self.gain(at))
        return np.where(never, np.inf, ends) if side > 0.0 else ends

    def _worse(self, at: Spot, tried: Array, theta: Array, allowed: Array) -> tuple[Array, Array]:
        fit = law.fit(
            self.fits.design, self.means, self.whiten, OWN, start=theta, held=Held(at, tried)
        )
        lost = ~np.isfinite(fit.objective)
        if lost.any():  # the constraint cannot be met from there
            whole = law.fit(
                self.fits.design, self.means[lost], self.whiten[lost], OWN,
                start=self.tied[lost], held=Held(at, tried[lost]),
            )  # fmt: skip
            fit.objective[lost], fit.theta[lost] = whole.objective, whole.theta
        reached = np.isfinite(fit.objective)
        theta = np.where(reached[:, None], fit.theta, self.fits.theta)
        return ~reached | (fit.objective - self.fits.objective > allowed), theta

    def crossing(self, near: Spot, far: Spot, level: float = 0.95) -> Array:
        """(R,) -1 where the arm is surely better at `near` and surely worse at `far`, 1 the other
        way round, 0 where no crossing is shown."""
        first, last = self.interval(near, level), self.interval(far, level)
        lost = (first.high < 0.0) & (last.low > 0.0)
        won = (first.low > 0.0) & (last.high < 0.0)
        return np.where(lost, -1, np.where(won, 1, 0))

    def forecast(self, size: float, tokens: Sequence[float], seeds: int) -> Expected:
        """Mean losses that so many seeds of both arms will have at a rung that is not among
        these, and their differences, with standard errors: of the law, and of the new seeds."""
        count = len(tokens)
        cells = Design(np.repeat([0, 1], count), np.full(2 * count, size), np.tile(tokens, 2))
        value, jac = law.slopes(self.fits.theta, *self.fits.design.logs(cells))
        seen = self.noise.at(size, seeds)
        if seen.shape[1] != 2 * count:
            raise ValueError("a forecast is of as many budgets as the rungs below have")
        total = jac @ self.fits.covariance @ np.swapaxes(jac, 1, 2) + seen
        less = np.concatenate([-np.eye(count), np.eye(count)], axis=1)
        spread = less @ total @ less.T
        return Expected(
            value.reshape(-1, 2, count),
            np.sqrt(np.einsum("rii->ri", total)).reshape(-1, 2, count),
            value @ less.T, np.sqrt(np.einsum("rii->ri", spread)), self.noise.seeds,
        )  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What is expected of a rung: losses (R, 2, J), differences arm less reference (R, J)."""

    losses: Array
    loss_errors: Array
    differences: Array
    errors: Array
    df: float

    def half(self, level: float) -> float:
        """Standard errors on either side of an interval."""
        return float(scipy.special.stdtrit(self.df, 0.5 + level / 2.0))


def design(rungs: Sequence[Rung]) -> Design:
    """The cells of rungs: rung by rung, in it by arm and then by budget."""
    cells = [(arm, rung.size, tokens) for rung in rungs for arm in (0, 1) for tokens in rung.tokens]
    arm, size, tokens = (np.array(column) for column in zip(*cells, strict=True))
    return Design(arm, size.astype(float), tokens.astype(float))


def judge(rungs: Sequence[Rung], known: Noise | None = None) -> Judged:
    """Fit the law to rungs that all have as many budgets. `known` is the noise, where it is.

    Raises ValueError for rungs that differ in budgets, or too few cells or seeds.
    """
    if len({len(rung.tokens) for rung in rungs}) != 1:
        raise ValueError("the rungs of a ladder have as many budgets each")
    spread = known or noise(rungs)
    count = len(rungs[0].losses)
    width = 2 * len(rungs[0].tokens)
    cells = len(rungs) * width
    if cells <= OWN.free:
        raise ValueError(f"{cells} cells cannot carry a law of {OWN.free} parameters")
    means = np.concatenate([r.losses.mean(axis=1).reshape(count, -1) for r in rungs], axis=1)
    whiten = np.zeros((count, cells, cells))
    for place, rung in enumerate(rungs):
        part = slice(place * width, (place + 1) * width)
        root = np.linalg.cholesky(spread.at(rung.size, rung.losses.shape[1]))
        whiten[:, part, part] = np.linalg.inv(root)
    of = design(rungs)
    own, shared = (law.fit(of, means, whiten, tied) for tied in (OWN, SHARED))
    # From the tied optimum too: the better of both is the least.
    again = law.fit(of, means, whiten, OWN, start=shared.theta)
    own = own if (own.objective <= again.objective).all() else _better(own, again)
    restrained = np.maximum(shared.chi2 - own.chi2, 0.0) / 2.0
    return Judged(
        own, spread,
        misfit=_misfit(own, means, whiten, spread.df),
        shared=scipy.special.fdtrc(2.0, spread.df, restrained),
        whiten=whiten, means=means, tied=shared.theta,
    )  # fmt: skip


def _misfit(fits: Fits, means: Array, whiten: Array, df: Array) -> Array:
    """(R,) p-value of the law: of what it leaves over in all, and of what three bends common to
    both arms would take of that (a break in size, one in tokens, a term in both), times two."""
    arm, x, z = fits.design.logs()
    value, jac = law.slopes(fits.theta, arm, x, z)
    rest = np.einsum("rij,rj->ri", whiten, means - value)
    bends = np.stack([np.maximum(x, 0.0), np.maximum(z, 0.0), x * z], axis=1)
    space, _ = np.linalg.qr(whiten @ jac)
    bent = whiten @ bends
    bent = bent - space @ (np.swapaxes(space, 1, 2) @ bent)
    base, _ = np.linalg.qr(bent)
    taken = (np.einsum("rij,ri->rj", base, rest) ** 2).sum(axis=1)
    in_all = scipy.special.fdtrc(fits.df, df, fits.chi2 / fits.df)
    by_bends = scipy.special.fdtrc(bends.shape[1], df, taken / bends.shape[1])
    return np.asarray(np.minimum(1.0, 2.0 * np.minimum(in_all, by_bends)))


def _better(one: Fits, other: Fits) -> Fits:
    less = one.objective <= other.objective
    pick = {
        name: np.where(less.reshape(-1, *[1] * (getattr(one, name).ndim - 1)),
                       getattr(one, name), getattr(other, name))
        for name in ("theta", "chi2", "objective", "covariance")
    }  # fmt: skip
    return Fits(one.design, one.tied, **pick)
