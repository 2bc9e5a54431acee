"""A ladder's records as the law takes them, and what it says of them in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.config import identity
from harness.evidence.searches import settings_of
from harness.evidence.sections import Section, sections
from harness.optim.tuning import own_rate
from harness.records.schema import Record
from harness.stats.ladder import MISFIT, Judged, Noise, Rung, judge, noise
from harness.stats.law import Spot

TARGET = Spot(134_515_008.0, 20.0 * 134_515_008.0)
"""SmolLM2-135M at 20 tokens a parameter: where a ladder's forecast is wanted."""

FEWEST = 3
"""Rungs below which no multiplier is said: a size's term has three parameters, E among them. The
forecast of the third rung is made from two, by the law's priors."""


@dataclass(frozen=True)
class Climbed:
    """One rung, as it was run."""

    scale: str
    pair: tuple[str, str]
    """The reference and the arm: the first pair of the recipe's question."""
    rung: Rung
    seeds: tuple[int, ...]
    """Those that both arms reached every budget with."""
    budgets: tuple[str, ...]
    """The horizons, the shortest first."""
    paths: tuple[str, ...]
    """The records: by arm, in it by budget, in it by seed."""
    created: str
    """When the oldest of them was made."""
    rates: tuple[float, float]
    """The learning rates that the arms' optimizers are named for."""
    frozen: int | None = None
    """Seeds that the recipe froze for it; None where that is not known."""

    def files(self, *places: int, budget: int) -> tuple[str, ...]:
        """The records of the arms at these places of the pair, at a budget."""
        count, whole = len(self.seeds), len(self.budgets)
        starts = [(place * whole + budget) * count for place in places]
        return tuple(path for start in starts for path in self.paths[start : start + count])


def measured(
    records: Sequence[Record], recipe: str, device_class: str, ladder: Sequence[str]
) -> list[Climbed]:
    """The rungs of one ladder that a recipe's runs on a class of device have left, the smallest
    first."""
    mine = [
        r for r in records
        if r.recipe == recipe and r.scale in ladder and r.hardware.device_class == device_class
    ]  # fmt: skip
    found = [_measured(s) for s in sections(mine) if not s.overrides]
    return sorted((one for one in found if one is not None), key=lambda one: one.rung.size)


def _measured(section: Section) -> Climbed | None:
    group = section.group
    if not group.question.pairs:
        return None
    pair = group.question.pairs[0]
    ends = {
        (arm, horizon): {one.seed: one for one in group.reached(arm, horizon)}
        for arm in pair for horizon in group.question.horizons
    }  # fmt: skip
    seeds = sorted(set.intersection(*(set(of) for of in ends.values())))
    if not seeds:
        return None
    horizons = sorted(
        group.question.horizons, key=lambda name: ends[pair[0], name][seeds[0]].tokens
    )
    losses = np.array(
        [[[ends[arm, h][seed].val_loss for h in horizons] for arm in pair] for seed in seeds]
    )
    reached = [ends[arm, h][seed] for arm in pair for h in horizons for seed in seeds]
    size = next(r.active_parameters for r in group.records if r.arm == pair[0])
    tokens = tuple(float(ends[pair[0], h][seeds[0]].tokens) for h in horizons)
    return Climbed(
        section.scale, (pair[0], pair[1]), Rung(float(size), tokens, losses[None]), tuple(seeds),
        tuple(horizons), tuple(one.path for one in reached), min(one.created for one in reached),
        (_rate(section, pair[0]), _rate(section, pair[1])), group.question.seeds,
    )  # fmt: skip


def _rate(section: Section, arm: str) -> float:
    fields = identity(next(r for r in section.group.records if r.arm == arm).config)
    return own_rate(str(fields["optim.name"]), settings_of(fields))


@dataclass(frozen=True)
class Said:
    """What a ladder comes to at a point."""

    verdict: str
    """In one sentence."""
    multiplier: float | None
    inner: tuple[float, float] | None
    """The 50 % interval."""
    outer: tuple[float, float] | None
    """The 90 % interval."""
    judged: Judged | None = None


def say(found: Sequence[Climbed], at: Spot = TARGET, unfair: str | None = None) -> Said:
    """The multiplier of the arm's compute at `at`, or that and why this ladder cannot tell:
    `unfair` is why its arms' settings decide it."""
    if len(found) < FEWEST:
        return _cannot(f"a law needs {FEWEST} rungs at least, and {len(found)} are finished")
    reference, arm = found[0].pair
    try:
        judged = judge([one.rung for one in found])
    except ValueError as why:
        return _cannot(str(why))
    middle = float(judged.gain(at)[0])
    inner, outer = (
        tuple(float(end[0]) for end in judged.interval(at, level)) for level in (0.5, 0.9)
    )
    where = f"at {at.size / 1e6:,.0f}M parameters and {at.tokens / at.size:.0f} tokens each"
    ends = tuple(math.exp(end) for end in outer)
    value = math.exp(middle)
    reason = None
    more = [one for one in found if one.frozen is not None and len(one.seeds) > one.frozen]
    if unfair is not None:
        reason = unfair
    elif more:
        reason = "exploratory, " + ", ".join(
            f"{len(one.seeds)} seeds at {one.scale} where the recipe froze {one.frozen}"
            for one in more
        )
    elif judged.does_not_fit[0]:
        reason = f"the law does not fit these rungs (p = {judged.misfit[0]:.2g} < {MISFIT:g})"
    elif outer[0] <= 0.0 <= outer[1]:
        reason = (
            f"its 90 % interval of the multiplier {where} is "
            f"{_number(ends[0])} to {_number(ends[1])}"
        )
    near = Spot(found[0].rung.size, found[0].rung.tokens[-1])
    crossed = int(judged.crossing(near, at)[0])
    if reason is not None:
        verdict = f"this ladder cannot tell: {reason}"
    elif value > TOO_FAR:
        least = _number(min(ends[0], TOO_FAR))
        verdict = f"{arm} needs at least {least} x {reference}'s compute {where}, if it gets "
        verdict += "as far at all"
    else:
        verdict = (
            f"{arm} needs {value:.2f} x [{_number(ends[0])}, {_number(ends[1])}] of {reference}'s "
            f"compute {where}"
        )
    if crossed and unfair is None and not judged.does_not_fit[0]:
        verdict += f"; a crossing: {arm} is {'better' if crossed < 0 else 'worse'} at the "
        verdict += f"smallest rung and {'worse' if crossed < 0 else 'better'} there"
    return Said(
        verdict, value, (math.exp(inner[0]), math.exp(inner[1])), (ends[0], ends[1]), judged
    )


def _cannot(why: str) -> Said:
    return Said(f"this ladder cannot tell: {why}", None, None, None)


TOO_FAR = 20.0
"""Multipliers above it are not told apart."""


def _number(value: float) -> str:
    return f"more than {TOO_FAR:.0f}" if value > TOO_FAR else f"{value:.2f}"


def forecast(found: Sequence[Climbed], size: float, tokens: Sequence[float], seeds: int) -> Any:
    """The ledger's cells for a rung: losses and differences with their half intervals.

    None where the rungs below carry no law.
    """
    if len(found) < 2:
        return None
    try:
        judged = judge([one.rung for one in found])
    except ValueError:
        return None
    said = judged.forecast(size, tokens, seeds)
    half = {"50": said.half(0.5), "90": said.half(0.9)}

    def with_ends(value: float, error: float) -> dict[str, Any]:
        ends = {
            level: [round(value - wide * error, 5), round(value + wide * error, 5)]
            for level, wide in half.items()
        }
        return {"expected": round(value, 5), **ends}

    arms = {
        name: [with_ends(*cell) for cell in zip(*of, strict=True)]
        for name, *of in zip(
            found[0].pair, said.losses[0].tolist(), said.loss_errors[0].tolist(), strict=True
        )
    }
    pairs = zip(said.differences[0].tolist(), said.errors[0].tolist(), strict=True)
    return {"losses": arms, "differences": [with_ends(*cell) for cell in pairs]}


ASSUMED_SD = 0.02
"""Nats: what a rung's loss spreads over seeds, where none was measured."""
SIMULATED = 60
POWER = 0.84
"""Standard errors by which 80 % of differences exceed a bound."""


def detects(
    shapes: Sequence[tuple[float, tuple[float, ...], int]],
    known: Sequence[Climbed],
    at: Spot = TARGET,
) -> str:
    """What ladders of these sizes, budgets and seeds can tell at `at`, by simulation of arms that
    do not differ: with the noise of the rungs that are `known`, or an assumed one."""
    budgets = len(shapes[0][1])
    spread: Noise | None
    try:
        spread = noise([one.rung for one in known])
    except ValueError:
        spread = None
    basis = "measured" if spread is not None else f"assumed, sd {ASSUMED_SD:g} nats"
    draw = np.random.default_rng(0)
    rungs = []
    for size, tokens, seeds in shapes:
        clean = 1.7 + 400.0 / size**0.34 + 400.0 / np.array(tokens) ** 0.28
        if spread is None:
            covariance = ASSUMED_SD**2 * (0.5 * np.eye(2 * budgets) + 0.5)
        else:
            covariance = spread.at(size, 1)[0]
        root = np.linalg.cholesky(covariance)
        rest = draw.normal(size=(SIMULATED, seeds, 2 * budgets)) @ root.T
        losses = clean + rest.reshape(SIMULATED, seeds, 2, budgets)
        rungs.append(Rung(size, tokens, losses))
    judged = judge(rungs)
    ends = judged.interval(at, 0.9)
    half = float(np.median((ends.high - ends.low) / 2.0))
    where = f"{at.size / 1e6:,.0f}M parameters and {at.tokens / at.size:.0f} tokens each"
    if not math.isfinite(half):
        return f"it can tell nothing about {where} (noise {basis})"
    told = math.exp(half * (1.0 + POWER / 1.645))
    return (
        f"it can tell arms apart at {where} whose compute differs by a factor of {told:.2f} or "
        f"more, in 80 % of cases (noise {basis}; simulated)"
    )
