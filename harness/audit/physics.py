"""Could a device have done it? FLOPs under every convention in use, peak and bandwidth.

A device that hardware.toml does not know has no peak: then a claim about it cannot be tested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.audit import memory, readings, timings
from harness.audit.memory import at_most, many
from harness.audit.pool import FAILS, HOLDS, OPEN, Check, Statements
from harness.audit.printed import Interval, exact
from harness.audit.solve import Conflict, Value, quantity, solve

LARGE = 3e9
"""Parameters beyond which a vocabulary is a small part of a model."""
FULL_LENGTH = 8192.0
"""Tokens a sequence where a claim does not say, at the most."""
UNCOUNTED = 0.02
"""Softmax, norms, rotary: what formulas for FLOPs leave out or count in their own ways."""
_ACHIEVED = ("mfu", "total_flops", "flops_per_second", "flops_per_device_second")
_BORROWED = {
    "tokens_per_second", "tokens_per_device_second", "steps_per_second", "updates_per_second",
    "micro_steps_per_second", "tokens_per_step", "time_per_step", "time_per_update",
}  # fmt: skip
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
            *_rated(pool),
            *_runs(pool),
            *memory.checks(pool),
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
    low, high = _unknown_shape(count.interval.middle, pool.seq_len)
    six = count.interval.scaled(6.0)
    return [
        (
            "6N, embedding and attention unknown",
            Interval(six.low * low, six.high * high, six.middle),
        )
    ]


def _unknown_shape(parameters: float, seq_len: float | None) -> tuple[float, float]:
    """FLOPs a token over 6N, at least and at most, of a model whose sizes are not told.

    Without its embedding, of which there may be most of a very small model; and with attention to
    every position, 12·layers·width·length, where layers are a 16th of the width at the most (a
    64th where the length is a guess too).
    """
    low = 0.25 if parameters < 1e8 else 0.6 if parameters < LARGE else 0.8
    if parameters <= 0:
        return low, 1.6
    share = 16 if seq_len is not None else 64
    width = (parameters * share / 12) ** (1 / 3)
    high = 1 + (FULL_LENGTH if seq_len is None else seq_len) / (6 * width)
    return low, high if seq_len is not None else min(high, 1.6)


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
    if "peak_flops" not in pool.known:
        if pool.device is None:
            return []
        return [Check("physics", f"no peak known for '{pool.device}'", OPEN)]
    share, text = _share(pool, values, achieved)
    least = share.scaled(values["time"].interval.middle) if "time" in values else None
    would_hold = (f"if it took at least {quantity('time', least)}",) if least else ()
    return [at_most(f"{_rate_line(values)}{text}", share, would_hold)]


def _rated(pool: Statements) -> list[Check]:
    """A stated share of the peak against stated FLOP/s: no way of counting stands between."""
    stated = pool.known.get("mfu")
    rates = [n for n in ("flops_per_second", "flops_per_device_second") if n in pool.known]
    if stated is None or "peak_flops" not in pool.known or not rates:
        return []
    known = {name: pool.known[name] for name in (*rates, "devices", "peak_flops")}
    value = solve(known, pool.relations)["mfu"]
    if not pool.is_own([stated, value]):
        return []
    line = _line("mfu", value, stated)
    if value.interval.overlaps(stated.interval):
        return [Check("physics", line, HOLDS)]
    conflict = Conflict("mfu", stated, value)
    return [Check("physics", line, FAILS, readings.of_conflict(pool, conflict))]


def _share(pool: Statements, values: dict[str, Value], achieved: Value) -> tuple[Interval, str]:
    """Achieved FLOP/s over the peak, and the same in words."""
    peak = pool.known["peak_flops"]
    # A peak that the claim states is of its own precision; of a family of devices the best counts.
    own = pool.peak is None or peak.stated_in
    most = peak.interval if own else exact(peak.interval.high)
    devices = values["devices"].interval
    share = achieved.interval / (devices * most)
    nominal = f"{share.middle:.1%}" if share.middle < float("inf") else f"at least {share.low:.1%}"
    of = f"a stated peak of {peak.text}" if own else (
        f"{pool.peak.name if pool.peak else ''}'s peak of {most.middle / 1e12:.1f} TFLOP/s"
    )  # fmt: skip
    return share, (
        f"{achieved.text} = {quantity('flops_per_second', achieved.interval)}, {nominal} of "
        f"{many(devices.middle)}{of}"
    )


def _runs(pool: Statements) -> list[Check]:
    """The steady rates of timed runs against the peak: the fastest of them."""
    honest = _honest(pool)
    if "peak_flops" not in pool.known or honest is None:
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
    return [at_most(text, share, ("if the times were longer, or the amounts less",))]


def _rate_line(values: dict[str, Value]) -> str:
    rate = values.get("tokens_per_second")
    if rate is None or rate.steps == 0:
        return ""
    return f"{rate.text} = {quantity('tokens_per_second', rate.interval)}; "
