"""What a claim's numbers imply, and where they contradict each other. Interval arithmetic.

Takes quantities and relations; knows nothing of files, hardware or verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.audit.printed import Interval, Printed, product
from harness.audit.relations import DIMENSIONS, DifferenceRule, FunctionRule, ProductRule, Relation

MANY = 100
"""Updates of which the last may be begun and not ended: of fewer, one is more than a rounding."""


@dataclass(frozen=True)
class Value:
    """A quantity that is stated, or follows from what is."""

    name: str
    interval: Interval
    text: str
    """As printed, or as worked out."""
    stated_in: frozenset[str]
    """Ids of the claims that it rests on."""
    rests_on: frozenset[str]
    """Stated quantities that it follows from; itself where stated."""
    steps: int = 0
    """Relations between it and what is stated."""
    currency: str = ""
    """The currency of money that is stated."""
    ends: tuple[Interval, Interval] | None = None
    """The two ends of a range that is stated."""


@dataclass(frozen=True)
class Conflict:
    """A relation whose two sides cannot be equal, whatever the rounding."""

    name: str
    """The quantity whose two values are compared."""
    stated: Value
    implied: Value

    @property
    def factor(self) -> Interval:
        """implied / stated."""
        return self.implied.interval / self.stated.interval


@dataclass(frozen=True)
class Agreement:
    """A relation that holds within what was printed."""

    name: str
    stated: Value
    implied: Value


def solve(
    known: Mapping[str, Value], relations: Iterable[Relation], limit: int = 6
) -> dict[str, Value]:
    """All quantities that follow, each by its nearest derivation, at most `limit` deep."""
    values = dict(known)
    relations = list(relations)
    for depth in range(1, limit + 1):
        fresh: dict[str, Value] = {}
        for relation in relations:
            unknown = [name for name in relation.names if name not in values]
            if len(unknown) != 1:
                continue
            found = implied(unknown[0], relation, values)
            if found and found.steps <= depth and _narrower(found, fresh.get(unknown[0])):
                fresh[unknown[0]] = found
        if not fresh:
            break
        values |= fresh
    return values


def _narrower(new: Value, old: Value | None) -> bool:
    if old is None:
        return True
    width = new.interval.high - new.interval.low
    return width < old.interval.high - old.interval.low


def implied(target: str, relation: Relation, values: Mapping[str, Value]) -> Value | None:
    """`target` as the relation gives it from the other quantities; None where one is unknown."""
    others = [name for name in relation.names if name != target]
    if target not in relation.names or any(name not in values for name in others):
        return None
    sources = [values[name] for name in others]
    if isinstance(relation, ProductRule):
        if any(source.interval.low < 0 for source in sources):
            return None  # factors are amounts: of one below zero its own limits speak
        interval, text = _product(target, relation, values)
    elif isinstance(relation, DifferenceRule):
        interval, text = _difference(target, relation, values)
    else:
        interval, text = _function(target, relation, sources[0])
    return Value(
        target,
        interval,
        text,
        frozenset().union(*(v.stated_in for v in sources)),
        frozenset().union(*(v.rests_on for v in sources)),
        max(v.steps for v in sources) + (0 if _is_alias(relation) else 1),
    )


def _is_alias(relation: Relation) -> bool:
    """Another word for the same quantity: nothing is worked out."""
    return isinstance(relation, ProductRule) and bool(relation.why)


def _product(
    target: str, relation: ProductRule, values: Mapping[str, Value]
) -> tuple[Interval, str]:
    exponents = dict(relation.factors)
    if target == relation.result:
        terms, constant = exponents, relation.constant
    else:
        # result = c · target^e · rest, so target = (result / c / rest)^(1/e).
        root = 1 / exponents.pop(target)
        terms = {relation.result: root} | {name: -e * root for name, e in exponents.items()}
        constant = relation.constant**-root
    factors = [values[name].interval.power(e) for name, e in terms.items()]
    if relation.why and len(terms) == 1:  # a name for a name: show what is behind it
        source = values[next(iter(terms))]
        text = f"{source.text} ({relation.why})" if relation.why not in source.text else source.text
        return product(factors), text
    above = [_to_the(shown(values[name]), e) for name, e in terms.items() if e > 0]
    below = [_to_the(shown(values[name]), -e) for name, e in terms.items() if e < 0]
    text = " × ".join(above) or "1"
    text += "".join(f" / {part}" for part in below)
    text += _constant(constant)
    return product(factors).scaled(constant), text


def _to_the(text: str, exponent: float) -> str:
    if exponent == 1.0:
        return text
    return f"√{text}" if exponent == 0.5 else f"({text})^{number(exponent)}"


def _difference(
    target: str, relation: DifferenceRule, values: Mapping[str, Value]
) -> tuple[Interval, str]:
    names = {
        relation.result: (relation.larger, "-", relation.smaller),
        relation.larger: (relation.smaller, "+", relation.result),
        relation.smaller: (relation.larger, "-", relation.result),
    }
    first, sign, second = names[target]
    a, b = values[first], values[second]
    interval = a.interval + b.interval if sign == "+" else a.interval - b.interval
    return interval, f"{shown(a)} {sign} {shown(b)}"


def _constant(value: float) -> str:
    if value == 1.0:
        return ""
    return f" × {number(value)}" if value > 1 else f" / {number(1 / value)}"


def _function(target: str, relation: FunctionRule, source: Value) -> tuple[Interval, str]:
    forward = target == relation.result
    function = relation.forward if forward else relation.backward
    ends = function(source.interval.low), function(source.interval.high)
    low, high = ends[::-1] if relation.falling else ends
    text = (relation.text if forward else relation.back_text).format(shown(source))
    return Interval(low, high, function(source.interval.middle)), text


def check(
    values: Mapping[str, Value], relations: Iterable[Relation]
) -> tuple[list[Conflict], list[Agreement]]:
    """Every relation all of whose quantities are known, compared where it is closest to the print.

    A relation that only repeats a derivation is left out, and of conflicts and agreements that
    rest on the same stated quantities one is kept: of conflicts the shortest.
    """
    conflicts: list[Conflict] = []
    agreements: list[Agreement] = []
    for relation in relations:
        names = relation.names
        if any(name not in values for name in names):
            continue
        # Compare at what is stated, if anything is, and there at the coarsest print: sizes and
        # settings are exact, and what was worked out from them is what rounds.
        name = min(names, key=lambda n: (values[n].steps, -values[n].interval.spread))
        other = implied(name, relation, values)
        held = values[name]
        if other is None:
            continue
        if not held.interval.overlaps(other.interval) and not _but_for_one(relation, values):
            # Numbers that enter both sides only widen the intervals: the conflict is real.
            conflicts.append(Conflict(name, held, other))
        elif not held.rests_on & other.rests_on:  # else a number may only agree with itself
            agreements.append(Agreement(name, held, other))
    told = {a.stated.rests_on | a.implied.rests_on: a for a in reversed(agreements)}
    return _shortest(conflicts), list(told.values())[::-1]


def _but_for_one(relation: Relation, values: Mapping[str, Value]) -> bool:
    """Whether a budget and the whole number of updates that spends it agree within one of them."""
    if not isinstance(relation, ProductRule) or not relation.whole:
        return False
    count = values[relation.whole].interval
    if not count.middle.is_integer() or count.middle < MANY:
        return False
    quotient = implied(relation.whole, relation, values)
    return quotient is not None and quotient.interval.overlaps(
        Interval(count.low - 1, count.high + 1)
    )


def _shortest(conflicts: list[Conflict]) -> list[Conflict]:
    kept: list[Conflict] = []
    for one in sorted(conflicts, key=lambda c: c.stated.steps + c.implied.steps):
        rests = one.stated.rests_on | one.implied.rests_on
        if not any((k.stated.rests_on | k.implied.rests_on) <= rests for k in kept):
            kept.append(one)
    return kept


def shown(value: Value) -> str:
    """`2.08 steps/sec`; of what was worked out, its value."""
    return value.text if value.steps == 0 else quantity(value.name, value.interval)


def quantity(name: str, interval: Interval) -> str:
    """A worked-out quantity in a unit that reads well, to three or four digits."""
    dimension, value = DIMENSIONS[name], interval.middle
    sign, size = ("-" if value < 0 else ""), abs(value)
    if dimension == "time":
        unit, per = next(
            ((u, s) for u, s in (("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
             if size >= 1.5 * s), ("ms", 1e-3) if size < 1 else ("s", 1.0),
        )  # fmt: skip
        return f"{sign}{number(size / per)} {unit}"
    if dimension == "fraction":
        return f"{value:.1%}"
    if dimension == "money rate":
        return f"{sign}{number(size)} an hour"
    if dimension in ("flops", "flop rate", "bytes"):
        unit = {"flops": "FLOP", "flop rate": "FLOP/s", "bytes": "B"}[dimension]
        return f"{sign}{_si(size)}{unit}"
    suffix = {"rate": "/s", "ratio": "×"}.get(dimension, "")
    return f"{sign}{number(size)}{suffix}"


def _si(size: float) -> str:
    for prefix, factor in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if size >= factor:
            return f"{number(size / factor)} {prefix}"
    return f"{number(size)} "


def number(value: float) -> str:
    """Four digits, without an exponent where a person would not use one."""
    if value != value or value in (float("inf"), float("-inf")):
        return "∞" if value == value else "?"
    size = abs(value)
    if size >= 1e15 or (0 < size < 1e-3):
        return f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def stated(name: str, number: Printed, claim: str) -> Value:
    """A quantity as a claim prints it."""
    currency = number.kind or "" if DIMENSIONS[name] in ("money", "money rate") else ""
    rests = frozenset({f"{claim}.{name}"})
    return Value(
        name, number.interval, number.text, frozenset({claim}), rests,
        currency=currency, ends=number.ends,
    )  # fmt: skip


def assumed(name: str, interval: Interval, text: str) -> Value:
    """A quantity that nobody states and everybody means."""
    return Value(name, interval, text, frozenset(), frozenset({f"assumed.{name}"}))
