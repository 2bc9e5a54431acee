"""Could a device have done it? FLOPs under every convention in use, peak and bandwidth.

A device that hardware.toml does not know has no peak: then a claim about it cannot be tested.
"""

from __future__ import annotations

from harness.audit import readings, timings
from harness.audit.checks import FAILS, HOLDS, OPEN, Check
from harness.audit.interval import Interval
from harness.audit.pool import Pool
from harness.audit.solve import Conflict, Value, quantity, solve

UNKNOWN_SHAPE = (0.6, 1.6)
"""Without the model's sizes, FLOPs a token are 6N times something: without the embedding it is
0.7 of it in small models, with attention over 8,192 tokens 1.5."""
UNCOUNTED = 0.02
"""Softmax, norms, rotary: what formulas for FLOPs leave out or count in their own ways."""
_ACHIEVED = ("mfu", "total_flops", "flops_per_second")
_BORROWED = {
    "tokens_per_second", "tokens_per_device_second", "steps_per_second", "updates_per_second",
    "micro_steps_per_second", "tokens_per_step", "time_per_step", "time_per_update",
}  # fmt: skip
WEIGHT_PASSES = 2
"""A micro-step reads every working weight at least twice: forward and backward."""
WEIGHT_BYTES = 2
"""Of a bf16 weight."""


def checks(pool: Pool) -> list[Check]:
    """Fixed costs, utilisation and bandwidth."""
    return [*timings.checks(pool), *_compute(pool), *_bandwidth(pool)]


def _conventions(pool: Pool) -> list[tuple[str, Interval]]:
    if "flops_per_token" in pool.known:
        value = pool.known["flops_per_token"]
        return [("as stated", value.interval)]
    if pool.model is not None:
        ways = pool.model.conventions(pool.seq_len)
        low, high = 1 - UNCOUNTED, 1 + UNCOUNTED
        return [(name, Interval(flops * low, flops * high, flops)) for name, flops in ways]
    count = pool.known.get("active_parameters") or pool.known.get("parameters")
    if count is None:
        return []
    low, high = UNKNOWN_SHAPE
    six = count.interval.scaled(6.0)
    return [
        (
            "6N, embedding and attention unknown",
            Interval(six.low * low, six.high * high, six.middle),
        )
    ]


def _with(pool: Pool, name: str, flops: Interval) -> dict[str, Value]:
    """The known values with FLOPs a token under one convention."""
    if "flops_per_token" in pool.known:
        return dict(pool.known)
    owner = _owner(pool)
    text = f"{quantity('flops_per_token', flops)} ({name})"
    return pool.known | {
        "flops_per_token": Value(
            "flops_per_token", flops, text, owner, frozenset({"assumed.flops_per_token"})
        )
    }


def _owner(pool: Pool) -> frozenset[str]:
    count = pool.known.get("active_parameters") or pool.known.get("parameters")
    return count.stated_in if count else frozenset()


def _compute(pool: Pool) -> list[Check]:
    conventions = _conventions(pool)
    accounts = _accounting(pool, conventions) if conventions else []
    return [*accounts, *_utilisation(pool, conventions)]


def _accounting(pool: Pool, conventions: list[tuple[str, Interval]]) -> list[Check]:
    """Stated FLOPs and MFU against tokens and rates: some convention must fit."""
    return [
        found
        for target in ("mfu", "total_flops", "flops_per_second")
        if target in pool.known and (found := _counted(pool, conventions, target)) is not None
    ]


def _counted(pool: Pool, conventions: list[tuple[str, Interval]], target: str) -> Check | None:
    stated = pool.known[target]
    tried: list[tuple[float, str, Conflict]] = []
    for name, flops in conventions:
        known = {n: v for n, v in _with(pool, name, flops).items() if n not in _ACHIEVED}
        value = solve(known, pool.relations).get(target)
        if value is None or not pool.is_own([stated, value]):
            return None
        line = _line(target, value, stated)
        if value.interval.overlaps(stated.interval):
            return Check("physics", f"{line} ({name})", HOLDS)
        conflict = Conflict(target, stated, value)
        tried.append((_distance(conflict), f"{line} ({name})", conflict))
    _, line, nearest = min(tried, key=lambda one: one[0])
    if len(tried) > 1:
        line += ", the nearest of all ways of counting FLOPs"
    return Check("physics", line, FAILS, readings.of_conflict(pool, nearest))


def _distance(conflict: Conflict) -> float:
    middle = conflict.factor.middle
    return max(middle, 1 / middle) if middle > 0 else float("inf")


def _line(name: str, implied: Value, stated: Value) -> str:
    worked = f"{implied.text} = {quantity(name, implied.interval)}"
    return f"{readings.words(name)}: {worked}, stated {stated.text}"


def _utilisation(pool: Pool, conventions: list[tuple[str, Interval]]) -> list[Check]:
    """Achieved FLOP/s against the peak, under the convention that counts the work really done:
    every parameter, and attention under its causal mask."""
    honest = next((c for c in conventions if c[0] == "6N + causal attention"), None)
    honest = honest or next((c for c in conventions if c[0] == "6N"), None)
    honest = honest or next(iter(conventions), None)
    counted = _with(pool, *honest) if honest else pool.known
    if "total_flops" in pool.known:
        counted = pool.known  # the claim has done its own counting
    known = {k: v for k, v in counted.items() if k != "mfu"}
    values = solve(known, pool.relations)
    if {"tokens", "time"} <= set(pool.known) and "time" in pool.claim.numbers:
        # The claim's own tokens and time speak before a rate that it borrows.
        values = solve({k: v for k, v in known.items() if k not in _BORROWED}, pool.relations)
    achieved = values.get("flops_per_second")
    if achieved is None or not pool.is_own([achieved]):
        return []
    if pool.peak is None:
        if pool.device is None:
            return []
        return [Check("physics", f"no peak known for '{pool.device}'", OPEN)]
    devices = values["devices"].interval
    share = achieved.interval / devices.scaled(pool.peak.bf16_flops)
    text = (
        f"{_rate_line(values)}{achieved.text} = "
        f"{quantity('flops_per_second', achieved.interval)}, "
        f"{share.middle:.1%} of {_many(devices.middle)}{pool.peak.name}'s peak of "
        f"{pool.peak.bf16_flops / 1e12:.1f} TFLOP/s"
    )
    if share.low <= 1.0:
        return [Check("physics", text, HOLDS)]
    least = share.scaled(values["time"].interval.middle) if "time" in values else None
    found = [f"if it took at least {quantity('time', least)}"] if least else []
    return [Check("physics", f"{text}: more than 100 %", FAILS, tuple(found))]


def _rate_line(values: dict[str, Value]) -> str:
    rate = values.get("tokens_per_second")
    if rate is None or rate.steps == 0:
        return ""
    return f"{rate.text} = {quantity('tokens_per_second', rate.interval)}; "


def _many(devices: float) -> str:
    return "" if devices == 1 else f"{devices:g} × "


def _bandwidth(pool: Pool) -> list[Check]:
    """Weights must pass through the memory at every micro-step: a bound that only absurdly fast
    claims break, and one that needs no assumption about activations."""
    count = pool.known.get("active_parameters") or pool.known.get("parameters")
    if pool.peak is None or count is None:
        return []
    steps = solve(pool.known, pool.relations).get("micro_steps_per_second")
    if steps is None or not pool.is_own([steps]):
        return []
    moved = (steps.interval * count.interval).scaled(WEIGHT_PASSES * WEIGHT_BYTES)
    if moved.low <= pool.peak.bandwidth:
        return []
    text = (
        f"weights alone: {quantity('micro_steps_per_second', steps.interval)} micro-steps × "
        f"{WEIGHT_PASSES} passes × {WEIGHT_BYTES} B × {count.text} = {moved.middle / 1e9:,.0f} "
        f"GB/s of {pool.peak.bandwidth / 1e9:,.0f}: more than 100 %"
    )
    return [Check("physics", text, FAILS)]
