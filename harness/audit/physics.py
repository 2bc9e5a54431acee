"""Could a device have done it? FLOPs under every convention in use, peak and bandwidth.

A device that hardware.toml does not know has no peak: then a claim about it cannot be tested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.audit import readings, timings
from harness.audit.pool import FAILS, HOLDS, OPEN, Check, Statements
from harness.audit.printed import Interval, exact
from harness.audit.solve import Conflict, Value, number, quantity, solve

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
"""The size of a bf16 weight."""
LEAST_BYTES = 0.5
"""The size of the smallest weight that text is generated with: four bits."""
_OF_A_RUN = {
    "micro_batch", "grad_accum", "seq_len", "devices", "tokens_per_step", "tokens_per_update",
    "tokens_per_micro_step", "sequences_per_update", "parameters", "active_parameters",
    "flops_per_token", "peak_flops",
}  # fmt: skip
"""What is the same in runs of any length."""


@dataclass(frozen=True)
class Account:
    """A stated share of the peak, or number of FLOPs, under each way of counting them."""

    lines: dict[str, str]
    """Convention -> the comparison in words."""
    conflicts: dict[str, Conflict]
    """What contradicts each of those conventions that do not fit."""

    @property
    def fitting(self) -> list[str]:
        """The conventions under which the statement is right."""
        return [name for name in self.lines if name not in self.conflicts]


def checks(pools: Sequence[Statements]) -> list[list[Check]]:
    """The checks of each claim: fixed costs, FLOPs, utilisation and bandwidth.

    All claims read at one address count FLOPs in one way: a table in which every row may choose
    its own would fit by chance.
    """
    accounts = [_accounts(pool) for pool in pools]
    votes: dict[str, Counter[str]] = {}
    for pool, own in zip(pools, accounts, strict=True):
        for account in own:
            if len(account.lines) == 1:
                continue  # of a model without sizes nobody can say how it was counted
            votes.setdefault(pool.claim.address, Counter()).update(account.fitting)
    # Of equally many the first counted: the usual conventions come first.
    common = {address: count.most_common(1)[0][0] for address, count in votes.items() if count}
    return [
        [
            *timings.checks(pool),
            *(_accounted(pool, account, common.get(pool.claim.address)) for account in own),
            *_utilisation(pool),
            *_runs(pool),
            *_bandwidth(pool),
            *_decoding(pool),
        ]
        for pool, own in zip(pools, accounts, strict=True)
    ]


def _conventions(pool: Statements) -> list[tuple[str, Interval]]:
    if "flops_per_token" in pool.known:
        value = pool.known["flops_per_token"]
        return [("as stated", value.interval)]
    if pool.model is not None:
        ways = pool.model.conventions(pool.seq_len)
        low, high = 1 - UNCOUNTED, 1 + UNCOUNTED
        return [(name, Interval(flops * low, flops * high, flops)) for name, flops in ways]
    count = pool.worked
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


def _with(pool: Statements, name: str, flops: Interval) -> dict[str, Value]:
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


def _owner(pool: Statements) -> frozenset[str]:
    return pool.worked.stated_in if pool.worked else frozenset()


def _accounts(pool: Statements) -> list[Account]:
    """Stated FLOPs and MFU against tokens and rates, under every convention."""
    found = []
    for target in _ACHIEVED:
        stated = pool.known.get(target)
        if stated is None:
            continue
        account = Account({}, {})
        for name, flops in _conventions(pool):
            known = {n: v for n, v in _with(pool, name, flops).items() if n not in _ACHIEVED}
            value = solve(known, pool.relations).get(target)
            if value is None or not pool.is_own([stated, value]):
                break
            account.lines[name] = _line(target, value, stated)
            if not value.interval.overlaps(stated.interval):
                account.conflicts[name] = Conflict(target, stated, value)
        if account.lines:
            found.append(account)
    return found


def _accounted(pool: Statements, account: Account, common: str | None) -> Check:
    fitting = account.fitting
    if fitting and common in account.lines and common not in fitting:
        text = f"{account.lines[common]} ({common}, as other claims of this page)"
        return Check("physics", text, FAILS, (f"if this one alone were counted as {fitting[0]}",))
    if fitting:
        name = common if common in fitting else fitting[0]
        return Check("physics", f"{account.lines[name]} ({name})", HOLDS)
    name, nearest = min(account.conflicts.items(), key=lambda one: _distance(one[1]))
    line = f"{account.lines[name]} ({name})"
    if len(account.lines) > 1:
        line += ", the nearest of all ways of counting FLOPs"
    return Check("physics", line, FAILS, readings.of_conflict(pool, nearest))


def _distance(conflict: Conflict) -> float:
    middle = conflict.factor.middle
    return max(middle, 1 / middle) if middle > 0 else float("inf")


def _line(name: str, implied: Value, stated: Value) -> str:
    worked = f"{implied.text} = {quantity(name, implied.interval)}"
    return f"{readings.words(name)}: {worked}, stated {stated.text}"


def _honest(pool: Statements) -> tuple[str, Interval] | None:
    """The convention that counts the work really done: every parameter, and attention under its
    causal mask."""
    conventions = dict(_conventions(pool))
    for name in ("6N + causal attention", "6N", *conventions):
        if name in conventions:
            return name, conventions[name]
    return None


def _utilisation(pool: Statements) -> list[Check]:
    """Achieved FLOP/s against the peak."""
    honest = _honest(pool)
    counted = _with(pool, *honest) if honest else pool.known
    if "total_flops" in pool.known:
        counted = pool.known  # the claim has done its own counting
    known = {k: v for k, v in counted.items() if k != "mfu"}
    if {"tokens", "time"} <= set(pool.known) and "time" in pool.claim.numbers:
        # The claim's own tokens and time speak before a rate that it borrows.
        known = {k: v for k, v in known.items() if k not in _BORROWED}
    values = solve(known, pool.relations)
    achieved = values.get("flops_per_second")
    if achieved is None or not pool.is_own([achieved]):
        return []
    if pool.peak is None:
        if pool.device is None:
            return []
        return [Check("physics", f"no peak known for '{pool.device}'", OPEN)]
    share, text = _share(pool, values, achieved)
    least = share.scaled(values["time"].interval.middle) if "time" in values else None
    would_hold = (f"if it took at least {quantity('time', least)}",) if least else ()
    return [_at_most(f"{_rate_line(values)}{text}", share, would_hold)]


def _share(pool: Statements, values: dict[str, Value], achieved: Value) -> tuple[Interval, str]:
    """Achieved FLOP/s over the peak, and the same in words."""
    assert pool.peak is not None  # the callers have one
    devices = values["devices"].interval
    share = achieved.interval / devices.scaled(pool.peak.bf16_flops)
    nominal = f"{share.middle:.1%}" if share.middle < float("inf") else f"at least {share.low:.1%}"
    return share, (
        f"{achieved.text} = {quantity('flops_per_second', achieved.interval)}, {nominal} of "
        f"{_many(devices.middle)}{pool.peak.name}'s peak of "
        f"{pool.peak.bf16_flops / 1e12:.1f} TFLOP/s"
    )


def _at_most(text: str, share: Interval, would_hold: tuple[str, ...] = ()) -> Check:
    """A share of what a device can do: above all of it nothing holds, and where only the rounding
    of what was printed leaves room, nothing can be said."""
    if share.middle <= 1.0:
        return Check("physics", text, HOLDS)
    if share.low > 1.0:
        return Check("physics", f"{text}: more than 100 %", FAILS, would_hold)
    text = f"{text}: more than 100 %, unless what was printed is rounded that far"
    return Check("physics", text, OPEN, would_hold, decisive=True)


def _runs(pool: Statements) -> list[Check]:
    """The steady rates of timed runs against the peak: the fastest of them."""
    honest = _honest(pool)
    if pool.peak is None or honest is None:
        return []
    common = {k: v for k, v in _with(pool, *honest).items() if k in _OF_A_RUN}
    found = []
    for rate in timings.rates(pool):
        name = f"{rate.counted}_per_second"
        owner = frozenset({pool.claim.id})
        value = Value(name, rate.interval, rate.text, owner, frozenset({f"{pool.claim.id}.runs"}))
        values = solve(common | {name: value}, pool.relations)
        achieved = values.get("flops_per_second")
        if achieved is not None:
            share, text = _share(pool, values, achieved)
            found.append((share, f"{_rate_line(values) or rate.text + ': '}{text}"))
    if not found:
        return []
    share, text = max(found, key=lambda one: (one[0].low > 1.0, one[0].middle))
    return [_at_most(text, share, ("if the times were longer, or the amounts less",))]


def _rate_line(values: dict[str, Value]) -> str:
    rate = values.get("tokens_per_second")
    if rate is None or rate.steps == 0:
        return ""
    return f"{rate.text} = {quantity('tokens_per_second', rate.interval)}; "


def _many(devices: float) -> str:
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
    return [_at_most(text, share)]


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
        f"of {_many(devices.middle)}{pool.peak.name}'s bandwidth of "
        f"{pool.peak.bandwidth / 1e9:,.0f}"
    )
    return [_at_most(text, share, ("if more sequences were generated at a time",))]
