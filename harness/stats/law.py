"""The law of a ladder: losses of two arms over sizes and budgets, fitted together. Pure.

An arm's loss at N parameters and D tokens is L = E + A / N^alpha + B / D^beta (Hoffmann et al.
2022, arXiv 2203.15556, equation 2); E, what no model of the family can learn, is one for both
arms. Fitted is by generalised least squares on the mean losses of the cells (an arm at a size and
a budget), with the covariance that seeds leave, by Levenberg and Marquardt's steps for many
ladders at once: a simulation of a thousand, or a bootstrap, is one call.

Exponents and E have wide log-normal priors (`PRIOR`), which decide nothing that data can decide
and keep a ladder of few rungs from running away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Array = np.ndarray

E, A0, ALPHA0, B0, BETA0, A1, ALPHA1, B1, BETA1 = range(9)
"""Places of the parameters, all logarithms: E; then of each arm the size's term at the design's
middle, its exponent, the tokens' term there, its exponent."""
PRIOR = {
    E: (np.log(1.5), 1.0),
    ALPHA0: (np.log(0.3), 0.7), BETA0: (np.log(0.3), 0.7),
    ALPHA1: (np.log(0.3), 0.7), BETA1: (np.log(0.3), 0.7),
    A0: (0.0, 2.0), B0: (0.0, 2.0), A1: (0.0, 2.0), B1: (0.0, 2.0),
}  # fmt: skip
"""Parameter -> mean and standard deviation of its prior: exponents 0.1 to 1, E 0.3 to 8 nats."""
STEPS = 60
"""Steps of a fit at most; it ends before where no ladder still moves."""


class Spot(NamedTuple):
    """A size and a budget."""

    size: float
    """Parameters."""
    tokens: float


@dataclass(frozen=True)
class Design:
    """The cells of a ladder. Each array holds a value a cell."""

    arm: Array
    """0 the reference, 1 the arm that is compared with it."""
    size: Array
    """Parameters."""
    tokens: Array

    @property
    def middle(self) -> Spot:
        """The geometric means: where terms are stated, so that they hang little together with
        their exponents."""
        return Spot(
            float(np.exp(np.log(self.size).mean())), float(np.exp(np.log(self.tokens).mean()))
        )

    def logs(self, at: Design | None = None) -> tuple[Array, Array, Array]:
        """Arm, ln size and ln tokens of the cells (or of `at`) from the middle."""
        of, middle = at or self, self.middle
        return of.arm, np.log(of.size / middle.size), np.log(of.tokens / middle.tokens)

    def only(self, kept: Array) -> Design:
        """The cells of a mask."""
        return Design(self.arm[kept], self.size[kept], self.tokens[kept])


class Tied(NamedTuple):
    """What two arms have in common besides E: `to[i]` is the free parameter that the i-th is."""

    name: str
    to: tuple[int, ...]

    @property
    def free(self) -> int:
        """Parameters that are free."""
        return max(self.to) + 1


OWN = Tied("own", (0, 1, 2, 3, 4, 5, 6, 7, 8))
SHARED = Tied("shared", (0, 1, 2, 3, 4, 5, 2, 6, 4))
"""Both exponents are one for both arms."""


@dataclass(frozen=True)
class Fits:
    """Fits of R ladders of one design."""

    design: Design
    tied: Tied
    theta: Array
    """(R, 9) the parameters, in the order of `E` ... `BETA1`."""
    chi2: Array
    """(R,) of the cells alone, without the priors."""
    objective: Array
    """(R,) of cells and priors: what was made least."""
    covariance: Array
    """(R, free, free) of the free parameters."""

    @property
    def df(self) -> int:
        """Cells less free parameters."""
        return len(self.design.arm) - self.tied.free


def losses(theta: Array, arm: Array, x: Array, z: Array) -> Array:
    """(R, K) losses at ln sizes x and ln tokens z from the middle."""
    return slopes(theta, arm, x, z)[0]


def slopes(theta: Array, arm: Array, x: Array, z: Array) -> tuple[Array, Array]:
    """Losses (R, K) and their derivatives (R, K, 9)."""
    rows, cells = len(theta), len(arm)
    jac = np.zeros((rows, cells, 9))
    jac[:, :, E] = np.exp(theta[:, E])[:, None]
    value = np.repeat(np.exp(theta[:, E])[:, None], cells, axis=1)
    for which, first in ((0, A0), (1, A1)):
        here = arm == which
        for place, u in ((first, x), (first + 2, z)):
            exponent = np.exp(theta[:, place + 1])[:, None]
            term = np.exp(np.minimum(theta[:, place][:, None] - exponent * u[here], 50.0))
            value[:, here] += term
            jac[:, here, place] = term
            jac[:, here, place + 1] = -term * exponent * u[here]
    return value, jac


@dataclass(frozen=True)
class Held:
    """A constraint: at `at` the arm reaches the reference's loss with exp(gain) times its tokens.
    It decides the arm's token term `B1`; `gain` holds a value a ladder."""

    at: Spot
    gain: Array


def _hold(theta: Array, held: Held, middle: Spot) -> tuple[Array, Array, Array]:
    """`theta` with B1 as the constraint has it, dB1/dtheta (R, 9), and whether it can be met."""
    x, z = np.log(held.at.size / middle.size), np.log(held.at.tokens / middle.tokens)
    alpha0, beta0, alpha1, beta1 = (np.exp(theta[:, i]) for i in (ALPHA0, BETA0, ALPHA1, BETA1))
    size0 = np.exp(theta[:, A0] - alpha0 * x)
    size1 = np.exp(theta[:, A1] - alpha1 * x)
    tokens0 = np.exp(theta[:, B0] - beta0 * z)
    left = size0 + tokens0 - size1
    met = left > 1e-9
    left = np.maximum(left, 1e-9)
    reach = z + held.gain
    theta = theta.copy()
    theta[:, B1] = np.log(left) + beta1 * reach
    slope = np.zeros((len(theta), 9))
    slope[:, A0], slope[:, ALPHA0] = size0 / left, -size0 * alpha0 * x / left
    slope[:, B0], slope[:, BETA0] = tokens0 / left, -tokens0 * beta0 * z / left
    slope[:, A1], slope[:, ALPHA1] = -size1 / left, size1 * alpha1 * x / left
    slope[:, BETA1] = beta1 * reach
    return theta, slope, met


def fit(
    design: Design,
    means: Array,
    whiten: Array,
    tied: Tied = OWN,
    *,
    start: Array | None = None,
    held: Held | None = None,
) -> Fits:
    """Fit ladders: `means` (R, K) losses of the cells, `whiten` (R, K, K) the inverse Cholesky
    factor of their covariance. `start` (R, 9) is where to begin, `held` a constraint.

    Raises ValueError for shapes that do not fit, fewer cells than free parameters, or losses that
    are not finite.
    """
    arm, x, z = design.logs()
    rows, cells = means.shape
    if whiten.shape != (rows, cells, cells) or cells != len(arm):
        raise ValueError(f"losses {means.shape}, covariances {whiten.shape}, {len(arm)} cells")
    if not np.isfinite(means).all():
        raise ValueError("a law takes finite losses")
    if len(np.unique(design.size)) < 2 or len(np.unique(design.tokens)) < 2:
        raise ValueError("a law needs two sizes and two budgets at least")
    tie = np.zeros((9, tied.free))
    tie[np.arange(9), tied.to] = 1.0
    if held is not None:  # B1 follows from the others
        tie = tie[:, [j for j in range(tied.free) if j != tied.to[B1]]]
    known = np.array([PRIOR[i][0] for i in range(9)]), np.array([PRIOR[i][1] for i in range(9)])
    phi = _start(design, means) if start is None else start
    phi = np.einsum("ki,rk->ri", tie / tie.sum(axis=0), phi)
    prior_weight = tie / known[1][:, None]  # a tied exponent has one prior, not two
    for column in range(tie.shape[1]):
        owners = np.flatnonzero(tie[:, column])
        prior_weight[owners[1:], column] = 0.0
    first = np.array([np.flatnonzero(prior_weight[:, j])[0] for j in range(tie.shape[1])])
    centre, spread = known[0][first], known[1][first]

    def evaluate(phi: Array) -> tuple[Array, Array, Array, Array, Array]:
        theta = phi @ tie.T
        slope = None
        met = np.ones(rows, bool)
        if held is not None:
            theta, slope, met = _hold(theta, held, design.middle)
        value, jac = slopes(theta, arm, x, z)
        if slope is not None:
            jac = jac + jac[:, :, B1][:, :, None] * slope[:, None, :]
            jac[:, :, B1] = 0.0
        jac = whiten @ (jac @ tie)
        rest = np.einsum("rij,rj->ri", whiten, value - means)
        chi2 = (rest**2).sum(axis=1)
        away = (phi - centre) / spread
        total = chi2 + (away**2).sum(axis=1)
        return theta, jac, rest, chi2, np.where(met & np.isfinite(total), total, np.inf)

    damp = np.full(rows, 1e-2)
    theta, jac, rest, chi2, total = evaluate(phi)
    for _ in range(STEPS):
        normal = np.swapaxes(jac, 1, 2) @ jac + np.diag(spread**-2.0)
        pull = np.einsum("rki,rk->ri", jac, rest) + (phi - centre) / spread**2
        diagonal = np.einsum("rii->ri", normal)
        damped = normal + np.einsum("ri,ij->rij", damp[:, None] * diagonal, np.eye(len(spread)))
        step = -np.linalg.solve(damped, pull[:, :, None])[:, :, 0]
        step = np.clip(step, -1.0, 1.0)
        tried = evaluate(phi + step)
        better = tried[4] < total
        with np.errstate(invalid="ignore"):
            gained = np.where(better, total - tried[4], 0.0)
        phi = np.where(better[:, None], phi + step, phi)
        theta = np.where(better[:, None], tried[0], theta)
        jac = np.where(better[:, None, None], tried[1], jac)
        rest = np.where(better[:, None], tried[2], rest)
        chi2, total = np.where(better, tried[3], chi2), np.where(better, tried[4], total)
        damp = np.clip(np.where(better, damp / 5.0, damp * 4.0), 1e-9, 1e9)
        if not ((gained > 1e-6 * (1.0 + np.where(np.isfinite(total), total, 0.0)))
                | (~better & (damp < 1e4))).any():  # fmt: skip
            break
    normal = np.swapaxes(jac, 1, 2) @ jac + np.diag(spread**-2.0)
    return Fits(design, tied, theta, chi2, total, np.linalg.inv(normal))


def _start(design: Design, means: Array) -> Array:
    """Where a fit begins: the exponents of the prior, terms by least squares on the cells."""
    arm, x, z = design.logs()
    exponent = np.exp(PRIOR[ALPHA0][0])
    columns = [np.ones(len(arm))]
    for which in (0, 1):
        here = (arm == which).astype(float)
        columns += [here * np.exp(-exponent * x), here * np.exp(-exponent * z)]
    terms = means @ np.linalg.pinv(np.stack(columns, axis=1)).T
    start = np.zeros((len(means), 9))
    log = np.log(np.maximum(terms, 0.05))
    start[:, E], start[:, A0], start[:, B0], start[:, A1], start[:, B1] = log.T
    for place in (ALPHA0, BETA0, ALPHA1, BETA1):
        start[:, place] = PRIOR[place][0]
    return start


def gain(fits: Fits, at: Spot) -> Array:
    """(R,) ln of the compute multiplier: the arm reaches the reference's loss at `at` with
    exp(gain) times its tokens, at the same size. Infinite where it never does."""
    middle = fits.design.middle
    x, z = np.log(at.size / middle.size), np.log(at.tokens / middle.tokens)
    t = fits.theta
    size = [np.exp(t[:, a] - np.exp(t[:, a + 1]) * x) for a in (A0, A1)]
    left = size[0] + np.exp(t[:, B0] - np.exp(t[:, BETA0]) * z) - size[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        log = (t[:, B1] - np.log(left)) / np.exp(t[:, BETA1]) - z
    return np.where(left > 0.0, log, np.inf)


def gain_slopes(fits: Fits, at: Spot) -> Array:
    """(R, 9) derivatives of `gain` in the parameters; NaN where it is infinite."""
    log = gain(fits, at)
    known = np.isfinite(log)
    _, slope, _ = _hold(fits.theta, Held(at, np.where(known, log, 0.0)), fits.design.middle)
    found = -slope
    found[:, B1] = 1.0
    found /= np.exp(fits.theta[:, BETA1])[:, None]
    found[~known] = np.nan
    return found
