"""Numbers as they were printed: the interval of what they can mean, given the digits shown.

"2.16 min" is anything that rounds to it: 2.155 to 2.165 minutes. "~1.4 hours" is a whole unit of
the last digit either way, and at least 2 %. Zeros at the end of a whole number beyond its second
digit may only hold a place: "120M" is 115 to 125 million; and of a whole number of one digit no
more than a quarter is rounding, of a ratio a fifth: "2x" is 1.6 to 2.4. What was chosen and not
measured (BUDGETS) is exact unless marked: "300" updates are 300, "1B" tokens are 1B within 2.5 %.
"<2%" is an upper bound, "30%+" a lower one, "4-24 hours" and "3.28 ± 0.05" are what they say.
"1h 30m", "1:30:00" and "1 day, 2:03:04" are times ("231:00" is minutes and seconds), and
"2.2 × 10^9" is 2.2e9. A number that is not a string (`tokens = 1_000_000_000`) is exact, in the
base unit: seconds, money, bytes, fractions.
May know nothing of claims.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from harness.audit import spelling, units
from harness.audit.relations import DIMENSIONS
from harness.errors import RequestError, nearest

SLACK = 1e-9
"""Relative room for the rounding of floating-point arithmetic itself."""


@dataclass(frozen=True)
class Interval:
    """All values from `low` to `high`, both included, and the one that was printed."""

    low: float
    high: float
    at: float | None = None
    """The nominal value, for showing; the middle where nothing was printed."""

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high, self.middle + other.middle)

    def __sub__(self, other: Interval) -> Interval:
        return Interval(self.low - other.high, self.high - other.low, self.middle - other.middle)

    def __mul__(self, other: Interval) -> Interval:
        return Interval(
            _times(self.low, other.low),
            _times(self.high, other.high),
            _times(self.middle, other.middle),
        )

    def __truediv__(self, other: Interval) -> Interval:
        low = self.low / other.high if other.high else math.inf
        high = self.high / other.low if other.low > 0 else math.inf
        return Interval(low, high, self.middle / other.middle if other.middle else math.inf)

    def power(self, exponent: float) -> Interval:
        """The interval to a power."""
        if exponent < 0:
            return exact(1.0) / self.power(-exponent)
        return Interval(*(_raised(end, exponent) for end in (self.low, self.high, self.middle)))

    def scaled(self, factor: float) -> Interval:
        """Both ends times a positive factor."""
        return Interval(self.low * factor, self.high * factor, self.middle * factor)

    def overlaps(self, other: Interval) -> bool:
        """Whether some value is in both, up to floating-point rounding."""
        ends = (self.low, self.high, other.low, other.high)
        room = SLACK * max((abs(end) for end in ends if math.isfinite(end)), default=0.0)
        return self.low <= other.high + room and other.low <= self.high + room

    def holds(self, value: float) -> bool:
        """Whether the interval contains a value."""
        return self.overlaps(exact(value))

    @property
    def spread(self) -> float:
        """Width over nominal value: how coarse the print is."""
        return (self.high - self.low) / abs(self.middle) if self.middle else math.inf

    @property
    def middle(self) -> float:
        """The nominal value; else the middle, or the finite end of a one-sided interval."""
        if self.at is not None:
            return self.at
        if math.isinf(self.high):
            return self.low
        return (self.low + self.high) / 2


def exact(value: float) -> Interval:
    """The interval of one value."""
    return Interval(value, value, value)


def product(factors: list[Interval]) -> Interval:
    """The product of intervals of non-negative values."""
    result = exact(1.0)
    for factor in factors:
        result = result * factor
    return result


def _raised(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0.0 or b == 0.0 else a * b


BUDGETS = {
    "tokens", "dataset_tokens", "epochs", "steps", "updates", "micro_steps", "micro_batch",
    "grad_accum", "seq_len", "sequences", "sequences_per_update", "devices", "seeds", "correct",
    "questions", "bytes_per_parameter", "optimizer_bytes_per_parameter", "bytes_per_value",
}  # fmt: skip
"""Quantities that somebody chose, or counted one by one."""
BUDGET = 0.025
"""What a budget in thousands or billions leaves open: 8,192 tokens are called 8k."""
ABOUT = 0.02
"""What "about" leaves open at the least, as a share of the number."""
ROUGH = 0.24
"""What a whole number of one digit leaves open at the most: half of "1" would be half of all, and
1.24B parameters are called 1B."""
ROUGH_RATIO = 0.2
"""The same of a ratio: 1.5 times is not "2x", though either time may be rounded."""
SIGNED = ("fraction", "ratio", "plain", "any")
"""Dimensions of what may lie below zero, as a change does; amounts, times and money may not."""
LONGEST = 200
"""Characters of a printed number: patterns that look back are slow on a megabyte."""
MOST_SHOWN = 80
"""Characters of bad input that an error repeats."""

_ABOUT = (
    r"~|≈|about |around |roughly |approximately |approx\.? |ca\.? |c\. |circa |some |nearly "
    r"|almost "
)
_MOST = r"<=|≤|<|up to |at most |under |below |less than "
_LEAST = r">=|≥|>|at least |over |above |more than "
_MARK = re.compile(rf"(?i)(?:(?P<about>{_ABOUT})|(?P<most>{_MOST})|(?P<least>{_LEAST}))\s*")
_NUMBER = (
    r"(?P<sign{i}>[+-])?\s*(?P<money{i}>[$€£¥])?\s*"
    r"(?=\.?\d)(?:(?P<digits{i}>\d{{1,3}}(?:[,_]\d{{3}})+|\d+)?(?P<point{i}>\.\d+)?"
    r"(?:[eE](?P<exponent{i}>[+-]?\d+)|\s*[×x*·]\s*10\^(?P<ten{i}>[+-]?\d+)(?![\d.]))?)"
    r"(?![\d,_.]*\d|[eE][+-]?\d)\s*(?P<unit{i}>{unit})"
)
_WORDS = r"[^\d±]*?(?:[A-Z]+\d+[^\d±]*)?"
"""A unit: no digits, but for a device's name."""
_ONE = re.compile(_NUMBER.format(i="", unit=".*"))
_RANGE = re.compile(
    _NUMBER.format(i="", unit=_WORDS) + r"\s*(?:-|–|—|\.\.\.?|\bto\b)\s*"
    + _NUMBER.format(i="2", unit=".*")
)  # fmt: skip
_SPREAD = re.compile(
    _NUMBER.format(i="", unit=_WORDS) + r"\s*(?:±|\+/-)\s*" + _NUMBER.format(i="2", unit=".*")
)
_CLOCK = re.compile(
    r"(?:(?:(?P<d>\d+)(?: days?,? |-)(?=\d+:\d+:))?(?P<h>\d+):)?(?P<m>\d+):"
    r"(?P<s>\d\d(?:\.\d+)?)(?P<unit> ?(?:h|hours))?"
)
_PARTS = re.compile(r"(?:\d+(?:\.\d+)?\s*[A-Za-z]+[\s,]*(?:and\s+)?){2,}")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


@dataclass(frozen=True)
class Printed:
    """A number of a claim, in base units, with the text that it was printed as."""

    interval: Interval
    text: str
    kind: str | None = None
    """What kind of unit stood behind it; None of a bare number, which has none."""
    ends: tuple[Interval, Interval] | None = None
    """The two ends of a range, each as printed."""


def read(name: str, content: object) -> Printed:
    """The number of quantity `name`.

    Raises RequestError for an unknown quantity, no number, or a unit that it cannot have.
    """
    if name not in DIMENSIONS:
        raise RequestError(f"no quantity '{name}'{nearest(name, DIMENSIONS)}")
    if isinstance(content, bool) or not isinstance(content, str | int | float):
        raise RequestError(f"{name} = {shown(content)} is not a number or a printed number")
    try:
        if isinstance(content, str):
            if len(content) > LONGEST:
                raise RequestError(f"{name} = {shown(content)} is too long for a number")
            found = replace(_printed(name, spelling.of_number(content)), text=content.strip())
        else:
            found = Printed(exact(float(content)), f"{content:,}")
    except OverflowError:
        raise RequestError(f"{name} = {shown(content)} is beyond any number") from None
    if not math.isfinite(found.interval.middle):
        raise RequestError(f"{name} = {shown(content)} is not a finite number")
    if found.interval.middle < 0 and DIMENSIONS[name] not in SIGNED:
        raise RequestError(f"{name} = {shown(content)} is below zero")
    return found


def shown(content: object) -> str:
    """Bad input as an error repeats it: at most `MOST_SHOWN` characters."""
    try:
        text = repr(content)
    except ValueError:  # an integer of more digits than Python prints
        return "an integer of thousands of digits"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _printed(name: str, text: str) -> Printed:
    if DIMENSIONS[name] == "time" and (span := _span(name, text)) is not None:
        return Printed(span, text, "time")
    mark = _MARK.match(text)
    text = re.sub(r"(?i)^(?:between|from) (.+) (?:and|to) ", r"\1 to ", text)
    rest = re.sub(r"^10\^(?=[+-]?\d)", "1e", text[mark.end() :] if mark else text)
    if found := _SPREAD.fullmatch(rest):
        return _with_spread(name, text, found)
    if not (mark and (mark["most"] or mark["least"])) and (found := _RANGE.fullmatch(rest)):
        return _from_to(name, text, found, bool(mark))
    found = _ONE.fullmatch(rest)
    if found is None or not (found["digits"] or found["point"]):
        if re.match(r"[+-]?\s*[$€£¥]?\s*[\d.]*\d[,_]\d", rest):
            raise RequestError(f"{name} = '{_cut(text)}': a comma groups three digits")
        raise RequestError(f"{name} = '{_cut(text)}' has no number in front")
    unit, more = re.subn(r"^([A-Za-z%]*)\+|\+$", r"\1", found["unit"])  # "30%+", "1B+ tokens"
    one, kind = _single(name, text, found, "", unit.strip(), bool(mark and mark["about"]))
    low, high = one.low, one.high
    if mark and mark["most"]:
        low = -math.inf if one.middle < 0 else 0.0
    if (mark and mark["least"]) or more:
        high = math.inf
    return Printed(Interval(low, high, one.at), text, kind)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _single(
    name: str, text: str, found: re.Match[str], i: str, unit: str, about: bool
) -> tuple[Interval, str]:
    """One number of a match, with its unit."""
    digits = re.sub("[,_]", "", found[f"digits{i}"] or "0")
    point = found[f"point{i}"]
    power = int(found[f"exponent{i}"] or found[f"ten{i}"] or 0)
    value = float(f"{digits}{point or ''}e{power}")
    money = found[f"money{i}"]
    dimension = DIMENSIONS[name]
    if money and dimension not in ("money", "money rate", "any"):
        raise RequestError(f"{name} = '{_cut(text)}': {money} is no unit of it")
    scale, kind = units.factor(name, dimension, unit, _cut(text))
    if money:
        kind = units.CURRENCIES[money]
    last = 10.0 ** (power + (1 - len(point) if point else _placeholders(digits)))
    half = max(last, ABOUT * value) if about else last / 2
    if not point and dimension != "fraction":
        half = min(half, (ROUGH_RATIO if dimension == "ratio" else ROUGH) * value)
    if name in BUDGETS and not about:
        rounded = point or power or scale != 1.0
        half = min(half, BUDGET * value) if rounded else 0.0
    low, high = value - half, value + half
    if found[f"sign{i}"] == "-":
        low, high, value = -high, -low, -value
    elif low < 0:
        low = 0.0
    return Interval(low * scale, high * scale, value * scale), kind


def _with_spread(name: str, text: str, found: re.Match[str]) -> Printed:
    """ "3.28 ± 0.05": anything from 3.23 to 3.33."""
    unit, behind = _both_units(found)
    middle, kind = _single(name, text, found, "", unit, False)
    if behind == "%" and DIMENSIONS[name] not in ("fraction", "any"):
        share = float(f"{found['digits2'] or 0}{found['point2'] or ''}") / 100
        half = abs(middle.middle) * share
    else:
        spread, other = _single(name, text, found, "2", behind, False)
        if other != kind:
            raise RequestError(f"{name} = '{_cut(text)}': two units")
        half = spread.middle
    half = max(half, middle.high - middle.middle)
    at = middle.middle
    return Printed(Interval(at - half, at + half, at), text, kind)


def _both_units(found: re.Match[str]) -> tuple[str, str]:
    """The units of two numbers of which one may stand for both: "24k-25k tokens/s"."""
    first, second = found["unit"].strip(), found["unit2"].strip()
    if first in units.MAGNITUDES:
        first = f"{first} {units.split(second)[1]}".strip()
    return first or second, second or first


def _from_to(name: str, text: str, found: re.Match[str], about: bool) -> Printed:
    """ "4-24 hours": anything between, and what rounds to the ends."""
    unit, behind = _both_units(found)
    low, kind = _single(name, text, found, "", unit, about)
    high, other = _single(name, text, found, "2", behind, about)
    if kind != other and "" not in (kind, other):
        raise RequestError(f"{name} = '{_cut(text)}': two units")
    if high.middle < low.middle:
        raise RequestError(f"{name} = '{_cut(text)}': the range ends below its start")
    whole = Interval(low.low, high.high, (low.middle + high.middle) / 2)
    return Printed(whole, text, kind or other, (low, high))


def _span(name: str, text: str) -> Interval | None:
    """ "1h 30m", "3h51m", "1:30:00", "231:00" (minutes and seconds); None of any other form."""
    mark = _MARK.match(text)
    if mark and not mark["about"]:
        return None
    rest = re.sub(r"(?<=\dh)(\d\d)$", r"\1m", text[mark.end() :] if mark else text)  # "1h30"
    if clock := _CLOCK.fullmatch(rest):
        hours = int(clock["d"] or 0) * 24 + int(clock["h"] or 0)
        value = hours * 3600 + int(clock["m"]) * 60 + float(clock["s"])
        last = 10.0 ** -len(clock["s"].partition(".")[2])
        if clock["unit"] and not clock["h"]:  # "1:30 h": hours and minutes
            value, last = value * 60, last * 60
    elif _PARTS.fullmatch(rest):
        sizes = [units.factor(name, "time", unit, _cut(text))[0] for _, unit in _PART.findall(rest)]
        counts = [count for count, _ in _PART.findall(rest)]
        if sizes != sorted(set(sizes), reverse=True):
            raise RequestError(f"{name} = '{_cut(text)}': its units do not fall")
        value = sum(float(count) * size for count, size in zip(counts, sizes, strict=True))
        last = sizes[-1] * 10.0 ** -len(counts[-1].partition(".")[2])
    else:
        return None
    half = max(last, ABOUT * value) if mark else last / 2
    return Interval(max(value - half, 0.0), value + half, value)


def _placeholders(digits: str) -> int:
    """Zeros at the end of a whole number that may only hold a place: those beyond the second digit.

    "120" (million parameters) was rounded to 1 or to 10, nobody can tell; "20" and "121" are plain.
    """
    zeros = len(digits) - len(digits.rstrip("0"))
    return max(0, min(zeros, len(digits) - 2))
