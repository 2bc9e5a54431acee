"""Simulated ladders: laws drawn at random, and the noise that seeds leave on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.stats import law
from harness.stats.ladder import Rung, design
from harness.stats.law import A0, A1, ALPHA0, ALPHA1, B0, B1, BETA0, BETA1, E, Fits, Spot

SIZES = (0.3e6, 0.65e6, 1.4e6, 3.0e6)
RATIOS = (2.0, 6.0, 18.0)
SEEDS = (4, 4, 3, 2)
TARGET = Spot(135e6, 20 * 135e6)
NEAR = Spot(SIZES[0], RATIOS[-1] * SIZES[0])


class Made(NamedTuple):
    """Ladders and what is true of them."""

    rungs: list[Rung]
    theta: np.ndarray
    clean: np.ndarray
    """(R, K) losses without noise."""


def laws(rows: int, seed: int, apart: float = 0.04, terms: float = 0.05) -> np.ndarray:
    """(rows, 9): E 1.4 to 2.2, terms 0.5 to 1.2 nats at the middle, exponents 0.25 to 0.45;
    the second arm's terms and exponents differ in their logarithms by so much."""
    draw = np.random.default_rng(seed)
    theta = np.zeros((rows, 9))
    theta[:, E] = np.log(draw.uniform(1.4, 2.2, rows))
    for place, low, high in (
        (A0, 0.5, 1.2),
        (B0, 0.5, 1.2),
        (ALPHA0, 0.25, 0.45),
        (BETA0, 0.25, 0.45),
    ):
        theta[:, place] = np.log(draw.uniform(low, high, rows))
    for place, first, sd in (
        (A1, A0, terms),
        (B1, B0, terms),
        (ALPHA1, ALPHA0, apart),
        (BETA1, BETA0, apart),
    ):
        theta[:, place] = theta[:, first] + draw.normal(0.0, sd, rows)
    return theta


def made(theta: np.ndarray, seed: int, *, sd: float = 0.006, bent: float = 0.0) -> Made:
    """Ladders of laws. A seed's noise has a part that both arms share, one that an arm's budgets
    share, and the rest; it falls with size to the power 0.2. `bent` adds a break: what the law's
    size term loses a unit of ln size more above the ladder's middle than below."""
    rows = len(theta)
    draw = np.random.default_rng(seed)
    empty = [
        Rung(n, tuple(n * r for r in RATIOS), np.zeros((rows, s, 2, 3)))
        for n, s in zip(SIZES, SEEDS, strict=True)
    ]
    of = design(empty)
    clean = law.losses(theta, *of.logs())
    x = np.log(of.size / of.middle.size)
    clean = clean - bent * np.maximum(x, 0.0)
    rungs = []
    for place, rung in enumerate(empty):
        shape = rung.losses.shape
        size = sd * (rung.size / SIZES[0]) ** -0.2
        parts = (
            (0.3, (rows, shape[1], 1, 1)),
            (0.3, (rows, shape[1], 2, 1)),
            (0.1, (rows, shape[1], 1, 3)),
            (0.3, shape),
        )
        noise = sum(size * np.sqrt(share) * draw.normal(size=of_part) for share, of_part in parts)
        mean = clean[:, place * 6 : place * 6 + 6].reshape(rows, 1, 2, 3)
        rungs.append(Rung(rung.size, rung.tokens, mean + noise))
    return Made(rungs, theta, clean)


def true_gain(of: Made, at: Spot) -> np.ndarray:
    """(R,) ln multipliers that are true."""
    none = np.zeros(len(of.theta))
    return law.gain(Fits(design(of.rungs), law.OWN, of.theta, none, none, none), at)


def crossed(theta: np.ndarray, near: float, far: float) -> np.ndarray:
    """Laws whose second arm has these ln multipliers at `NEAR` and at `TARGET`: its token term
    and exponent are solved for, all else is the first arm's."""
    theta = theta.copy()
    theta[:, A1], theta[:, ALPHA1] = theta[:, A0], theta[:, ALPHA0]
    middle = design(made(theta[:1], 0).rungs).middle
    reach = [np.log(at.tokens / middle.tokens) + g for at, g in ((NEAR, near), (TARGET, far))]
    loss = [
        theta[:, B0] - np.exp(theta[:, BETA0]) * np.log(at.tokens / middle.tokens)
        for at in (NEAR, TARGET)
    ]
    exponent = (loss[0] - loss[1]) / (reach[1] - reach[0])
    theta[:, BETA1] = np.log(exponent)
    theta[:, B1] = loss[0] + exponent * reach[0]
    return theta
