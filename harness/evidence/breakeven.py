"""`train.compile=auto`: which way to compile a run of a given length. Pure.

Launches that were timed on the device decide where there are any: a way to compile is chosen where
a run of that length is surely faster with it, by the whole interval of its break-even. Elsewhere an
assumption decides that is stated with the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from harness.config import Compile
from harness.stats.line import REACH, BreakEven, Line

Value = TypeVar("Value")

ASSUMED_BREAK_EVEN = 300
"""Updates. On two CPU cores, compiling block by block costs 11 to 30 s and saves about a tenth of
an update of half a second or more: a few hundred updates. The seed card's own timings of a 4090
put whole-graph compilation at 458 micro-steps."""
ASSUMED: Compile = "blocks"
"""Each distinct block is compiled once, so its cost does not grow with the model's depth."""


class Measured(NamedTuple):
    """What launches of one way to compile came to."""

    line: Line
    break_even: BreakEven | None
    """The updates from which it pays against `eager`; None for eager itself, and where the two may
    not be compared."""
    longest: int
    """Updates of the longest launch."""


Timings = Callable[[], tuple[Mapping[Compile, Measured], str]]
"""What was measured of each way to compile on the device at hand, and the view it is from; asked
only where somebody wants to know."""


def unmeasured() -> tuple[Mapping[Compile, Measured], str]:
    """Nothing was timed."""
    return {}, ""


class Choice(NamedTuple, Generic[Value]):
    """What `auto` was resolved to, and why, in one line."""

    value: Value
    reason: str


def choose(updates: int, measured: Mapping[Compile, Measured], origin: str = "") -> Choice[Compile]:
    """The mode for runs of `updates`; what was `measured` is of this device, from view `origin`.

    Measurements count where `eager` and another mode that may be compared with it have them. Of
    the modes that surely pay at this length the one of fewest seconds wins; if none does, eager.
    """
    eager = measured.get("eager")
    others = {mode: (one.line, one.break_even) for mode, one in measured.items() if one.break_even}
    if eager is None or not others:
        longer = updates > ASSUMED_BREAK_EVEN
        return Choice(
            ASSUMED if longer else "eager",
            f"{updates:,} updates are {'more' if longer else 'not more'} than the "
            f"{ASSUMED_BREAK_EVEN} assumed to pay for compiling; not measured on this device",
        )
    paying = [mode for mode, (_, found) in others.items() if found and found.pays_at(updates)]
    mode: Compile = min(paying, key=lambda one: others[one][0].at(updates), default="eager")
    said = "; ".join(f"{one} {_pays(found)}" for one, (_, found) in others.items() if found)
    return Choice(mode, f"{_seconds(updates, measured)}{said} (measured: {origin})")


def _pays(found: BreakEven) -> str:
    if found.updates is not None:
        return f"pays from {found.text} updates on"
    return f"pays {found.reason}" if found.always else f"break-even {found.reason}"


def _seconds(updates: int, measured: Mapping[Compile, Measured]) -> str:
    """Predicted for each mode, but not far beyond what was launched."""
    if updates > REACH * min(one.longest for one in measured.values()):
        return f"{updates:,} updates: "
    said = ", ".join(f"{one.line.at(updates):,.0f} s {mode}" for mode, one in measured.items())
    return f"{updates:,} updates take {said}; "
