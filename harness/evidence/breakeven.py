"""`train.compile=auto`: which way to compile a run of a given length. Pure; may not import torch.

Measured lines (`harness.stats.line`) of the device decide where there are any, by the predicted
seconds of the whole run; elsewhere an assumption that is stated with the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from harness.config import Compile
from harness.stats.line import Line, break_even

ASSUMED_BREAK_EVEN = 300
"""Updates. On two CPU cores, compiling block by block costs 11 to 30 s and saves about a tenth of
an update of half a second or more: a few hundred updates. The seed card's own timings of a 4090
put whole-graph compilation at 458 micro-steps."""
ASSUMED: Compile = "blocks"
"""Each distinct block is compiled once, so its cost does not grow with the model's depth."""


Timings = Callable[[], tuple[Mapping[Compile, Line], str]]
"""Seconds against updates of each way to compile on the device at hand, and the view they are
from; asked only where somebody wants to know."""


def unmeasured() -> tuple[Mapping[Compile, Line], str]:
    """Nothing was timed."""
    return {}, ""


class Choice(NamedTuple):
    """What was chosen, and why, in one line."""

    mode: Compile
    reason: str


def choose(updates: int, measured: Mapping[Compile, Line], origin: str = "") -> Choice:
    """The mode for runs of `updates`; `measured` lines are of this device, from view `origin`.

    Measurements count where `eager` and another mode have them: the fewest predicted seconds win,
    a tie goes to eager.
    """
    eager = measured.get("eager")
    others = {mode: line for mode, line in measured.items() if mode != "eager"}
    if eager is None or not others:
        longer = updates > ASSUMED_BREAK_EVEN
        return Choice(
            ASSUMED if longer else "eager",
            f"{updates:,} updates are {'more' if longer else 'not more'} than the "
            f"{ASSUMED_BREAK_EVEN} assumed to pay for compiling; not measured on this device",
        )
    best = min(others, key=lambda mode: others[mode].at(updates))
    crossing = break_even(others[best].minus(eager))
    pays = "never" if crossing.updates is None else f"from {crossing.updates:,.0f} updates on"
    if crossing.updates is None and crossing.reason and crossing.reason.startswith("always"):
        pays = "always"
    ours, theirs = others[best].at(updates), eager.at(updates)
    predicted = f"{updates:,} updates in {ours:,.0f} s by {best}, {theirs:,.0f} s eager"
    mode: Compile = best if ours < theirs else "eager"
    return Choice(mode, f"{predicted}; {best} pays {pays} (measured: {origin})")
