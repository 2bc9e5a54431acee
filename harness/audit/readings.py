"""Readings under which a claim that does not hold would hold: a number that would have to be
another, a unit that was slipped, a step that was a micro-step. Suggests; judges nothing.
"""

from __future__ import annotations

import math

from harness.audit.pool import Statements
from harness.audit.printed import Interval
from harness.audit.relations import COMMON, DIMENSIONS, STEPS
from harness.audit.solve import Conflict, Value, number, quantity, shown, solve

TIMED = ("time", "rate")
SHARP = 1.5
"""A discrepancy known to less than this factor names no slip: too many would fit."""
_SLIPS: tuple[tuple[float, tuple[str, ...], str], ...] = (
    (60.0, TIMED, "minutes were taken for hours, or seconds for minutes (60×)"),
    (3600.0, TIMED, "seconds were taken for hours (3,600×)"),
    (24.0, TIMED, "hours were taken for days (24×)"),
    (1000.0, ("time", "rate", "count", "bytes", "flops", "flop rate", "money"),
     "a prefix slipped (1,000×)"),
    (1e6, ("count", "rate", "bytes", "flops", "flop rate"), "a prefix slipped (1,000,000×)"),
    (100.0, ("fraction", "money"), "a share was taken for a percentage, or cents for dollars"),
    (1 / math.log(2), ("plain",), "bits were taken for nats (1.443×)"),
    (8.0, ("bytes", "plain"), "bits were taken for bytes (8×)"),
    (2.0, ("flops", "flop rate", "fraction"), "a multiply-add was counted once, or a peak with "
     "sparsity was taken (2×)"),
    (1.024**3, ("bytes",), "GiB were taken for GB (1.074×)"),
    (1.024**2, ("bytes",), "MiB were taken for MB (1.049×)"),
)  # fmt: skip
_STEPPED = {
    "steps", "steps_per_second", "tokens_per_step", "time_per_step", "updates",
    "tokens_per_update", "updates_per_second", "time_per_update",
}  # fmt: skip
_STEP = {"steps", "steps_per_second", "tokens_per_step", "time_per_step"}
"""Quantities that a claim can only have by saying "step"."""
_CONCLUDED = (
    "time", "steps", "updates", "cost", "tokens_per_second", "device_time", "mfu",
    "tokens_per_device_second",
)  # fmt: skip
"""What a claim concludes from a rate and a number of tokens a step."""


def of_conflict(pool: Statements, conflict: Conflict) -> tuple[str, ...]:
    """What would have to be otherwise for both sides to be equal."""
    rests = conflict.stated.rests_on | conflict.implied.rests_on
    names = {rest.split(".", 1)[1] for rest in rests}
    found = slips(pool, conflict.factor, names | {conflict.name})
    needed = quantity(conflict.name, conflict.implied.interval)
    found.append(f"if {words(conflict.name)} were {needed}, not {shown(conflict.stated)}")
    found += _others(pool, conflict, names)
    return tuple(found[:4])


def slips(pool: Statements, factor: Interval, names: set[str]) -> list[str]:
    """Known confusions whose size is that of the discrepancy, for the dimensions involved."""
    if not 0 < factor.low <= factor.high < factor.low * SHARP or factor.holds(1.0):
        return []
    found = []
    for name, text in (
        ("grad_accum", "a step is a micro-step, not an update"),
        ("devices", "the number is of one device, not of all"),
    ):
        value = pool.known.get(name)
        if value is None or value.interval.middle <= 1:
            continue
        if (name != "grad_accum" or names & _STEPPED) and _matches(factor, value.interval.middle):
            found.append(f"if {text} ({number(value.interval.middle)}×)")
    dimensions = {DIMENSIONS[name] for name in names if name in DIMENSIONS}
    found += [
        f"if {text}"
        for size, where, text in _SLIPS
        if dimensions & set(where) and _matches(factor, size)
    ]
    return found


def _matches(factor: Interval, size: float) -> bool:
    return factor.holds(size) or factor.holds(1 / size)


def _others(pool: Statements, conflict: Conflict, names: set[str]) -> list[str]:
    """The other numbers that the claim itself states, each as the rest would have it."""
    found = []
    for name in sorted(names - {conflict.name}):
        own = pool.known.get(name)
        if own is None or pool.claim.id not in own.stated_in or own.steps:
            continue
        rest = {key: value for key, value in pool.known.items() if key != name}
        value = solve(rest, pool.relations).get(name)
        if value is not None and not value.interval.overlaps(own.interval):
            found.append(f"if {words(name)} were {quantity(name, value.interval)}, not {own.text}")
    return found


def micro_step(pool: Statements) -> str | None:
    """What follows if the claim's step is a micro-step: for claims in which it was an update.

    The tokens a step are then micro_batch x seq_len, and what the claim concludes is worked out
    anew. None where the claim does not say how many micro-steps make an update.
    """
    accum = pool.known.get("grad_accum")
    if accum is None or accum.interval.middle <= 1 or not _STEP & set(pool.known):
        return None
    own = pool.claim.numbers
    dropped = {"tokens_per_step", "tokens_per_update", *(n for n in _CONCLUDED if n in own)}
    rest = {name: value for name, value in pool.known.items() if name not in dropped}
    values = solve(rest, COMMON + STEPS["micro-step"])
    told = [
        _told(name, values[name], pool.known.get(name))
        for name in ("tokens_per_step", "tokens_per_second", "time", "cost")
        if name in values and values[name].steps
    ]
    if len(told) < 2:
        return None
    return "if a step is a micro-step: " + ", ".join(told)


def _told(name: str, value: Value, printed: Value | None) -> str:
    text = f"{words(name)} {quantity(name, value.interval)}"
    if printed is not None and printed.interval.middle > 0:
        times = value.interval.middle / printed.interval.middle
        text += f" ({number(times)}× the stated)" if times > 1 else f" (not {printed.text})"
    return text


def words(name: str) -> str:
    """`tokens_per_step` -> `tokens a step`."""
    text = name.replace("_per_device_second", " a second and device").replace("_per_", " a ")
    text = text.replace("_", " ")
    return text.replace(" a update", " an update").replace(" a hour", " an hour")
