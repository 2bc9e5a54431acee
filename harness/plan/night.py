"""What a budget on one card can tell two arms apart by, said before anything runs. Pure.

A night is a recipe of two arms whose number of pairs is what the budget holds, whole, and is
frozen then: from the rate that was measured on the card, or is assumed there. What so many pairs
can find depends on how far paired differences lie apart. That was measured where records say so,
hardly ever at the size that is asked about, and is carried over in plain words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import RequestError, nearest
from harness.evidence.spreads import FEWEST, Spread
from harness.plan.campaign import Target, seconds_of
from harness.plan.forecast import Forecast
from harness.plan.runs import Plan
from harness.recipe import Entry
from harness.records.schema import Record
from harness.stats.inference import LEVEL, POWER, detectable_difference

ROLE = "night"
SCALE: Final = "full"
BUDGETS = ("1h", "5$", "8h")
"""An hour of a fast card, five dollars, a night."""
NIGHT = "8h"
STARTING = 0.05
"""The part of a budget that is kept for what no forecast holds: a slower card, a retried run."""


@dataclass(frozen=True)
class Holds:
    """What a budget holds."""

    budget: str
    seconds: float
    pairs: int
    """Whole ones."""
    minutes: float
    """That they take, as predicted."""
    dollars: float | None
    cautious: float | None
    """The smallest true difference, nats a token, that so many pairs find in 80 % of cases, by the
    largest of the spreads; None where there is none, or fewer than three pairs."""
    usual: float | None
    """The same by the spread of the longest runs."""

    @property
    def text(self) -> str:
        """One line."""
        paid = f", ${self.dollars:.2f}" if self.dollars is not None else ""
        held = f"{self.budget}: {self.pairs} pairs in {self.minutes:.0f} minutes{paid}"
        if self.pairs < FEWEST:
            return f"{held}: no answer, which takes at least {FEWEST}"
        if self.cautious is None or self.usual is None:
            return f"{held}: what they detect is not known, as no spread was measured"
        return (
            f"{held}: detects {self.usual:.4f} nats a token by the longest runs' spread, "
            f"{self.cautious:.4f} by the largest"
        )


def protocol(entries: Iterable[Entry], name: str | None) -> Entry:
    """The recipe that is run: the one whose role it is, or the one of that name.

    Raises RequestError where there is none, or it does not ask about one pair of losses at `full`.
    """
    known = {entry.name: entry for entry in entries if SCALE in entry.seeds}
    if name is None:
        entry = next((e for e in known.values() if e.at(SCALE).role == ROLE), None)
        if entry is None:
            raise RequestError(f"no recipe has the role '{ROLE}': name one with --recipe")
    elif name in known:
        entry = known[name]
    else:
        raise RequestError(f"no recipe '{name}' at {SCALE}{nearest(name, known)}")
    primary = entry.primary
    if primary.metric != "val_loss" or len(primary.pairs) != 1 or entry.at(SCALE).stages:
        raise RequestError(
            f"recipe '{entry.name}' does not ask about the losses of one pair of arms at a horizon"
        )
    return entry


def frozen(entry: Entry, pairs: int) -> Entry:
    """The recipe with so many seeds, all of which its question asks for."""
    return dataclasses.replace(entry, seeds={**entry.seeds, SCALE: pairs}, looks={})


def begun(entry: Entry, records: Iterable[Record], device: Target) -> int | None:
    """The pairs that were frozen when the night was begun on this device; None where it was not."""
    mine = [r for r in records if r.recipe == entry.name and r.scale == SCALE and device.ran(r)]
    return max(mine, key=lambda r: r.created).question.seeds if mine else None


def pair_seconds(plan: Plan, forecast: Forecast) -> tuple[float | None, str]:
    """Predicted for one seed of the arms that the question names, one run at a time, and what the
    least certain rate is based on."""
    (pair,) = plan.entry.primary.pairs
    one = [run for run in plan.runs if run.seed == plan.entry.first_seed and run.arm in pair]
    return forecast.together(one, 1)


def holds(budget: str, device: Target, one: float, spreads: Sequence[Spread]) -> Holds:
    """What a budget (`8h`, `5$`) holds where one pair takes `one` seconds.

    Raises RequestError for another form, and for dollars where the device has no price.
    """
    seconds = seconds_of(budget, device.price)
    return of_pairs(budget, seconds, int(seconds * (1.0 - STARTING) // one), one, device, spreads)


def of_pairs(
    budget: str, seconds: float, pairs: int, one: float, device: Target, spreads: Sequence[Spread]
) -> Holds:
    """So many pairs, whatever the budget holds."""
    enough = pairs >= FEWEST and bool(spreads)
    cautious = detectable_difference(max(s.sd for s in spreads), pairs) if enough else None
    usual = detectable_difference(spreads[0].sd, pairs) if enough else None
    dollars = pairs * one / 3600.0 * device.price.value if device.price else None
    return Holds(budget, seconds, pairs, pairs * one / 60.0, dollars, cautious, usual)


def carried(spreads: Sequence[Spread]) -> list[str]:
    """Which spreads these are, and that they are carried over."""
    if not spreads:
        return ["no paired spread was measured: nothing can be said of what a budget detects"]
    first, widest = spreads[0], max(spreads, key=lambda s: s.sd)
    said = [
        f"a true difference as large is found in {100 * POWER:.0f} % of cases, at level "
        f"{100 * LEVEL:.0f} %, by a paired t test over seeds",
        f"spread of the longest runs that were paired: {first.text}",
        *([f"largest spread of {len(spreads)}: {widest.text}"] if widest is not first else []),
    ]
    if first.scale != SCALE:
        said.append(
            f"these spreads were measured at {first.scale} and are carried over to {SCALE}: where "
            "the true one is half or twice as large, so is the difference that is detected"
        )
    return said
