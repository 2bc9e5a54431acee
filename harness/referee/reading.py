"""What a format makes of a script's output: numbers by name, curves, and what was wrong."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["lower", "higher"]
"""Which way a metric is better."""

Curve = list[tuple[float, float]]
"""(step, value) in the order printed."""

CURVE_POINTS = 200
NUMBER = (
    r"[-+]?(?:(?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?!,?\d)"
    r"|[-+]?(?:nan|inf|infinity)"
)
"""A number as scripts print it, NaN and infinity included; to be matched ignoring case. Commas part
thousands alone: a decimal comma is none, since 0,5 would be read as 5."""


@dataclass
class Reading:
    """What a run reported."""

    values: dict[str, float] = field(default_factory=dict)
    """The last value of each name; may be NaN or infinite."""
    curves: dict[str, Curve] = field(default_factory=dict)
    ways: dict[str, Way] = field(default_factory=dict)
    """Which way is better, where the output itself says so."""
    points_only: tuple[str, ...] = ()
    """Names of which there are points and no result, where the format tells the two apart."""
    fault: str | None = None
    """Why the output could not be read, in one line."""

    def point(self, name: str, step: float, value: float) -> None:
        """Add a point to a curve; one that is not finite has no place in a drawing."""
        if math.isfinite(value):
            self.curves.setdefault(name, []).append((step, value))

    @property
    def finite(self) -> dict[str, float]:
        """The values that are numbers."""
        return {name: v for name, v in self.values.items() if math.isfinite(v)}

    @property
    def not_finite(self) -> tuple[str, ...]:
        """Names of the values that are none."""
        return tuple(sorted(name for name, v in self.values.items() if not math.isfinite(v)))

    def thinned(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """The curves of at least two points, at most `CURVE_POINTS` each, their ends kept."""
        return {name: _thin(points) for name, points in self.curves.items() if len(points) > 1}


def _thin(points: Curve) -> tuple[tuple[float, float], ...]:
    if len(points) <= CURVE_POINTS:
        return tuple(points)
    last = len(points) - 1
    places = [round(i * last / (CURVE_POINTS - 1)) for i in range(CURVE_POINTS)]
    return tuple(points[place] for place in places)


def number(text: str) -> float | None:
    """A printed number, thousands' commas allowed; None for anything else."""
    if not re.fullmatch(NUMBER, text.strip(), re.IGNORECASE):
        return None
    return float(text.strip().replace(",", ""))


_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""What a terminal takes as colour, or as a movement."""


def lines_of(text: str) -> list[str]:
    """Lines; a carriage return, by which progress is printed over itself, ends one too. Colours are
    left out."""
    lines = re.split(r"[\r\n]+", _COLOUR.sub("", text))
    return [line.strip() for line in lines if line.strip()]
