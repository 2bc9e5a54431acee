"""What passes through a device's memory, and what must lie in it: weights, states, caches.

Bounds that only absurd claims break, and that need no assumption about activations.
"""

from __future__ import annotations

from harness.audit import devices
from harness.audit.pool import FAILS, HOLDS, OPEN, Check, Statements
from harness.audit.printed import Interval, exact
from harness.audit.solve import number, quantity, solve

WEIGHT_PASSES = 2
"""A micro-step reads every working weight at least twice: forward and backward."""
WEIGHT_BYTES = 2
"""The size of a bf16 weight."""
LEAST_BYTES = 0.5
"""The size of the smallest weight that text is generated with: four bits."""
_KEPT = ("weight_bytes", "optimizer_bytes", "kv_cache_bytes")
"""What lies in a device's memory at the same time."""


def checks(pool: Statements) -> list[Check]:
    """Bandwidth of training and of generating, and room."""
    return [*_bandwidth(pool), *_decoding(pool), *_room(pool)]


def at_most(text: str, share: Interval, would_hold: tuple[str, ...] = ()) -> Check:
    """A share of what a device can do: above all of it nothing holds, and where only the rounding
    of what was printed leaves room, nothing can be said."""
    if share.middle <= 1.0:
        return Check("physics", text, HOLDS)
    if share.low > 1.0:
        return Check("physics", f"{text}: more than 100 %", FAILS, would_hold)
    text = f"{text}: more than 100 %, unless what was printed is rounded that far"
    return Check("physics", text, OPEN, would_hold, decisive=True)


def many(devices: float) -> str:
    """ "8 × ", and nothing of one."""
    return "" if devices == 1 else f"{devices:g} × "


def _bandwidth(pool: Statements) -> list[Check]:
    """Weights must pass through the memory at every micro-step: a bound that only absurdly fast
    claims break, and one that needs no assumption about activations."""
    count = pool.worked
    if pool.peak is None or count is None:
        return []
    steps = solve(pool.known, pool.relations).get("micro_steps_per_second")
    if steps is None or not pool.is_own([steps]):
        return []
    moved = (steps.interval * count.interval).scaled(WEIGHT_PASSES * WEIGHT_BYTES)
    share = moved.scaled(1 / pool.peak.bandwidth)
    if share.middle <= 1.0:
        return []
    text = (
        f"weights alone: {quantity('micro_steps_per_second', steps.interval)} micro-steps × "
        f"{WEIGHT_PASSES} passes × {WEIGHT_BYTES} B × {count.text} = {moved.middle / 1e9:,.0f} "
        f"GB/s of {pool.peak.bandwidth / 1e9:,.0f}"
    )
    return [at_most(text, share)]


def _decoding(pool: Statements) -> list[Check]:
    """Every token that is generated reads all working weights, once for all sequences at a time."""
    rate, count = pool.known.get("decode_tokens_per_second"), pool.worked
    if pool.peak is None or rate is None or count is None or not pool.is_own([rate, count]):
        return []
    stated = pool.known.get("bytes_per_parameter")
    at_once = pool.known["sequences"].interval if "sequences" in pool.known else exact(1.0)
    # Unstated, weights are of two bytes, and of four bits at the least.
    size = stated.interval if stated else Interval(LEAST_BYTES, WEIGHT_BYTES, WEIGHT_BYTES)
    devices = pool.known["devices"].interval
    moved = rate.interval * count.interval * size / at_once
    share = moved / devices.scaled(pool.peak.bandwidth)
    text = (
        f"weights alone: {rate.text} × {number(size.middle)} B × {count.text} / "
        f"{number(at_once.middle)} at a time = {moved.middle / 1e9:,.0f} GB/s, {share.middle:.1%} "
        f"of {many(devices.middle)}{pool.peak.name}'s bandwidth of "
        f"{pool.peak.bandwidth / 1e9:,.0f}"
    )
    return [at_most(text, share, ("if more sequences were generated at a time",))]


def _room(pool: Statements) -> list[Check]:
    """What a claim keeps on its devices against the memory that they have."""
    if pool.peak is None:
        return []
    values = solve(pool.known, pool.relations)
    kept = [values[name] for name in _KEPT if name in values and pool.is_own([values[name]])]
    if not kept:
        return []
    total = exact(0.0)
    for one in kept:
        total = total + one.interval
    count = values["devices"].interval
    share = total / count.scaled(pool.peak.memory_bytes)
    listed = " + ".join(f"{one.name.removesuffix('_bytes').replace('_', ' ')} {one.text}"
                        for one in kept)  # fmt: skip
    text = (
        f"{listed} = {quantity('weight_bytes', total)}, {share.middle:.1%} of "
        f"{many(count.middle)}{pool.peak.name}'s memory of {pool.peak.memory_bytes / 1e9:.0f} GB"
    )
    if share.low > devices.RESERVE:
        reading = ("if a part lay elsewhere, or on more devices",)
        return [Check("physics", f"{text}: more than there is", FAILS, reading)]
    return [Check("physics", text, HOLDS)]
