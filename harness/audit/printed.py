"""Numbers as they were printed: what they can mean, given the digits that are shown.

"2.16 min" is anything that rounds to it: 2.155 to 2.165 minutes. "~1.4 hours" is a whole unit of
the last digit either way, and at least 2 %. Zeros at the end of a whole number beyond its second
digit may only hold a place: "120M" is 115 to 125 million. "<2%" is an upper bound, "30%+" a lower
one. A number that is not a string (`tokens = 1_000_000_000`) is exact, in the base unit: seconds,
USD, bytes, fractions. May know nothing of claims.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from harness.audit.interval import Interval, exact
from harness.audit.quantities import BYTES, COUNTED, DIMENSIONS, FLOP_RATE, FLOPS, MAGNITUDES, TIME
from harness.errors import RequestError, nearest

ABOUT = 0.02
"""What "about" leaves open at the least, as a share of the number."""
_NUMBER = re.compile(
    r"(?P<mark>~|≈|about |approximately |<=|>=|≤|≥|<|>)?\s*(?P<sign>[+\-−])?\s*(?P<dollar>\$)?\s*"
    r"(?P<digits>\d[\d,_]*)?(?P<point>\.\d+)?(?:[eE](?P<exponent>[+-]?\d+))?\s*(?P<unit>.*)"
)


SIGNED = ("fraction", "ratio", "plain")
"""Dimensions of what may lie below zero, as a change does; amounts, times and money may not."""


@dataclass(frozen=True)
class Printed:
    """A number of a claim, in base units, with the text that it was printed as."""

    interval: Interval
    text: str


def read(name: str, content: object) -> Printed:
    """The number of quantity `name`.

    Raises RequestError for an unknown quantity, no number, or a unit that it cannot have.
    """
    if name not in DIMENSIONS:
        raise RequestError(f"no quantity '{name}'{nearest(name, DIMENSIONS)}")
    if isinstance(content, bool) or not isinstance(content, str | int | float):
        raise RequestError(f"{name} = {content!r} is not a number or a printed number")
    try:
        if isinstance(content, str):
            found = Printed(_interval(name, content), content.strip())
        else:
            found = Printed(exact(float(content)), f"{content:,}")
    except OverflowError:
        raise RequestError(f"{name} = {content!r} is beyond any number") from None
    if not math.isfinite(found.interval.middle):
        raise RequestError(f"{name} = {content!r} is not a finite number")
    if found.interval.middle < 0 and DIMENSIONS[name] not in SIGNED:
        raise RequestError(f"{name} = {content!r} is below zero")
    return found


def _interval(name: str, text: str) -> Interval:
    found = _NUMBER.fullmatch(text.strip())
    if found is None or not (found["digits"] or found["point"]):
        raise RequestError(f"{name} = '{text}' has no number in front")
    digits = re.sub("[,_]", "", found["digits"] or "0")
    decimals = len(found["point"]) - 1 if found["point"] else 0
    power = int(found["exponent"] or 0)
    value = float(f"{digits}{found['point'] or ''}e{power}")
    last = 10.0 ** (power - decimals + (0 if found["point"] else _placeholders(digits)))
    mark = (found["mark"] or "").strip()
    dollar = "$" if found["dollar"] else ""
    unit = found["unit"].strip()
    plus = unit.endswith("+")
    factor = _factor(name, dollar, unit.removesuffix("+").strip(), text)
    half = last / 2
    if mark in ("~", "≈", "about", "approximately"):
        half = max(last, ABOUT * value)
    low, high = value - half, value + half
    if mark in ("<", "<=", "≤"):
        low = 0.0
    if mark in (">", ">=", "≥") or plus:
        high = float("inf")
    if found["sign"] in ("-", "−"):
        low, high, value = -high, -low, -value
    elif low < 0:
        low = 0.0
    return Interval(low * factor, high * factor, value * factor)


def _placeholders(digits: str) -> int:
    """Zeros at the end of a whole number that may only hold a place: those beyond the second digit.

    "120" (million parameters) was rounded to 1 or to 10, nobody can tell; "20" and "121" are plain.
    """
    zeros = len(digits) - len(digits.rstrip("0"))
    return max(0, min(zeros, len(digits) - 2))


def _factor(name: str, dollar: str, unit: str, text: str) -> float:
    """What one printed unit is in base units."""
    dimension = DIMENSIONS[name]
    known: dict[str, float] = {}
    if dimension == "time":
        known = TIME
    elif dimension == "bytes":
        known = BYTES
    elif dimension == "flops":
        known = FLOPS
    elif dimension == "flop rate":
        known = FLOP_RATE
    elif dimension == "fraction":
        known = {"%": 0.01, "percent": 0.01, "": 1.0}
    elif dimension == "ratio":
        known = {"x": 1.0, "×": 1.0, "times": 1.0, "": 1.0}
    elif dimension == "money":
        known = {"": 1.0, "USD": 1.0, "dollars": 1.0, "cents": 0.01, "k": 1e3, "M": 1e6}
    if known:
        if unit in known:
            return known[unit]
        if unit.lower() in known and dimension in ("time", "money"):
            return known[unit.lower()]
        raise _unknown(name, unit, text, list(known))
    if dimension == "money rate":
        return _per_time(name, unit, text, dollar) * 3600.0
    magnitude, rest = _split(unit)
    if dimension == "rate":
        return magnitude * _per_time(name, rest, text, "any")
    if dimension == "count":
        if not rest or rest.lower() in COUNTED:
            return magnitude
        raise _unknown(name, unit, text, [*MAGNITUDES, *COUNTED])
    # Plain numbers: whatever unit stands behind them is only read.
    return magnitude


def _split(unit: str) -> tuple[float, str]:
    """("k tokens/s") -> (1000, "tokens/s")."""
    first, _, rest = unit.partition(" ")
    for word in (first, first.lower()):
        if word in MAGNITUDES:
            return MAGNITUDES[word], rest.strip()
    return 1.0, unit


def _per_time(name: str, unit: str, text: str, what: str) -> float:
    """1 / seconds of "tokens/s", "steps per minute", "/h"; of money "/h" and "USD an hour".

    For money the result is a share of an hour, so that prices stay in USD an hour.
    """
    found = re.fullmatch(r"(?P<of>[A-Za-z\- ]*?)\s*(?:/| per | an | a |per )\s*(?P<time>\w+)", unit)
    if found is None or found["time"].lower() not in TIME:
        raise _unknown(name, unit, text, [f"{what if what == '$' else 'tokens'}/s", "/min", "/h"])
    return 1.0 / TIME[found["time"].lower()]


def _unknown(name: str, unit: str, text: str, known: list[str]) -> RequestError:
    return RequestError(f"{name} = '{text}': no unit '{unit}'{nearest(unit, known)}")
