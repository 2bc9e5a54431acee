"""What a claim's numbers imply, and where they contradict each other. Interval arithmetic.

Takes quantities and relations; knows nothing of files, hardware or verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.audit.interval import Interval, exact, product
from harness.audit.quantities import DIMENSIONS
from harness.audit.relations import Function, Product, Relation


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
            for target in relation.names:
                if target in values:
                    continue
                found = implied(target, relation, values)
                if found and found.steps <= depth and _narrower(found, fresh.get(target)):
                    fresh[target] = found
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
    if isinstance(relation, Product):
        interval, text = _product(target, relation, values)
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
    return isinstance(relation, Product) and bool(relation.why)


def _product(target: str, relation: Product, values: Mapping[str, Value]) -> tuple[Interval, str]:
    exponents = dict(relation.factors)
    if target == relation.result:
        sign, terms, constant = 1, exponents, relation.constant
    else:
        # result = c · target^e · rest, so target = (result / c / rest)^e for e = 1 or -1.
        sign = exponents.pop(target)
        terms = {relation.result: 1} | {name: -e for name, e in exponents.items()}
        constant = 1.0 / relation.constant
    terms = {name: sign * e for name, e in terms.items()}
    constant = constant if sign == 1 else 1.0 / constant
    factors = [values[name].interval.power(e) for name, e in terms.items()]
    above = [shown(values[name]) for name, e in terms.items() if e == 1]
    below = [shown(values[name]) for name, e in terms.items() if e == -1]
    if relation.why and len(terms) == 1:  # a name for a name: show what is behind it
        source = values[next(iter(terms))]
        text = f"{source.text} ({relation.why})" if relation.why not in source.text else source.text
        return product(factors), text
    text = " × ".join(above) or "1"
    text += "".join(f" / {part}" for part in below)
    text += _constant(constant)
    return product(factors).scaled(constant), text


def _constant(value: float) -> str:
    if value == 1.0:
        return ""
    return f" × {number(value)}" if value > 1 else f" / {number(1 / value)}"


def _function(target: str, relation: Function, source: Value) -> tuple[Interval, str]:
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
        if not held.interval.overlaps(other.interval):
            # Numbers that enter both sides only widen the intervals: the conflict is real.
            conflicts.append(Conflict(name, held, other))
        elif not held.rests_on & other.rests_on:  # else a number may only agree with itself
            agreements.append(Agreement(name, held, other))
    told = {a.stated.rests_on | a.implied.rests_on: a for a in reversed(agreements)}
    return _shortest(conflicts), list(told.values())[::-1]


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
    if dimension in ("money", "money rate"):
        return f"{sign}${number(size)}" + ("/h" if dimension == "money rate" else "")
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


def stated(name: str, interval: Interval, text: str, claim: str) -> Value:
    """A quantity as a claim prints it."""
    return Value(name, interval, text, frozenset({claim}), frozenset({f"{claim}.{name}"}))


def assumed(name: str, value: float, text: str) -> Value:
    """A quantity that nobody states and everybody means."""
    return Value(name, exact(value), text, frozenset(), frozenset({f"assumed.{name}"}))
