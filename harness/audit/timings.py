"""Timed runs of one arm at several lengths: `fixed + amount / steady rate` against the print.

Two lengths give both numbers; a fixed cost below zero, a longer run that took less time, or three
lengths on no line are no property of any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

from harness.audit.claims import TimedRun
from harness.audit.pool import FAILS, HOLDS, OPEN, Check, Statements
from harness.audit.printed import Interval, exact
from harness.audit.solve import number, quantity

WORDS = {"micro_steps": "micro-steps"}
NOISE = 0.05
"""How far a timed run may be off what a line through three or more of them says."""


@dataclass(frozen=True)
class SteadyRate:
    """What runs say of the rate between their start and their end."""

    counted: str
    interval: Interval
    text: str


def checks(pool: Statements) -> list[Check]:
    """Each run's printed rate, then the fits of neighbouring lengths and of all."""
    found = [check for run in pool.claim.runs for check in _rate(run)]
    for runs in _lengths(pool):
        for short, long in pairwise(runs):
            found += _fit(pool, short, long)
        found += _line(pool, runs)
    return found


def rates(pool: Statements) -> list[SteadyRate]:
    """Lower bounds of the steady rate: of each run as a whole, and of what a longer one adds."""
    found = [
        SteadyRate(
            run.counted,
            exact(run.amount.interval.middle) / run.time.interval,
            f"{run.amount.text} in {run.time.text}",
        )
        for run in pool.claim.runs
    ]
    for runs in _lengths(pool):
        for short, long in pairwise(runs):
            more = exact(long.amount.interval.middle - short.amount.interval.middle)
            if long.time.interval.high > short.time.interval.low:
                rate = more / (long.time.interval - short.time.interval)
                text = f"{number(more.middle)} more in {long.time.text} - {short.time.text}"
                found.append(SteadyRate(long.counted, rate, text))
    return found


def _lengths(pool: Statements) -> Iterator[list[TimedRun]]:
    """The runs of each counted quantity by length, one a length."""
    for counted in dict.fromkeys(run.counted for run in pool.claim.runs):
        runs = [run for run in pool.claim.runs if run.counted == counted]
        runs.sort(key=lambda run: run.amount.interval.middle)
        told = runs[:1]
        for run in runs[1:]:
            if told[-1].amount.interval.high < run.amount.interval.low:
                told.append(run)
        yield told


def _rate(run: TimedRun) -> list[Check]:
    if run.rate is None:
        return []
    real = run.amount.interval / run.time.interval
    text = f"{run.amount.text} / {run.time.text} = {number(real.middle)}/s, stated {run.rate.text}"
    if real.overlaps(run.rate.interval):
        return [Check("arithmetic", text, HOLDS)]
    return [Check("arithmetic", text, FAILS, (f"if the rate were {number(real.middle)}/s",))]


def _fit(pool: Statements, short: TimedRun, long: TimedRun) -> list[Check]:
    t1, t2 = short.time.interval, long.time.interval
    word = _word(pool, short.counted)
    if t2.high <= t1.low:
        text = f"{long.amount.text} {word} took no more time than {short.amount.text}"
        return [Check("physics", text, FAILS, ("if the two rows were exchanged",))]
    # Amounts of runs are chosen, not measured: their middles are exact.
    a, b = short.amount.interval.middle, long.amount.interval.middle
    fixed = Interval(
        (t1.low * b - t2.high * a) / (b - a),
        (t1.high * b - t2.low * a) / (b - a),
        (t1.middle * b - t2.middle * a) / (b - a),
    )
    steady = exact(b - a) / (t2 - t1)
    text = (
        f"fixed cost ({short.time.text} × {number(b)} - {long.time.text} × {number(a)}) / "
        f"{number(b - a)} = {_minutes(fixed.middle)}, steady rate {number(b - a)} / "
        f"({long.time.text} - {short.time.text}) = {number(steady.middle)} {word}/s"
    )
    found = [_judged(text, short, long, fixed)]
    for name, real in (("fixed_time", fixed), ("steady_per_second", steady)):
        stated = pool.known.get(name)
        if stated is None:
            continue
        told = quantity(name, real)
        line = f"{name.replace('_', ' ')} from the two lengths {told}, stated {stated.text}"
        if real.overlaps(stated.interval):
            found.append(Check("arithmetic", line, HOLDS))
        else:
            found.append(Check("arithmetic", line, FAILS, (f"if it were {told}",)))
    return found


def _judged(text: str, short: TimedRun, long: TimedRun, fixed: Interval) -> Check:
    if long.time.interval.middle <= short.time.interval.middle:
        text = f"{text}: as printed, the longer run took no more time"
        return Check("physics", text, OPEN, ("if its time rounds to more",), decisive=True)
    if fixed.high >= 0:
        return Check("physics", text, HOLDS)
    a, b = short.amount.interval.middle, long.amount.interval.middle
    most = short.time.interval.high * b / a
    least = long.time.interval.low * a / b
    return Check(
        "physics",
        f"{text}: a fixed cost below zero",
        FAILS,
        (
            f"if the long run had taken at most {_minutes(most)}, or the short one at least "
            f"{_minutes(least)}: the two did not run at one rate",
        ),
    )


def _line(pool: Statements, runs: list[TimedRun]) -> list[Check]:
    """Whether one fixed cost and one rate explain three lengths or more, give or take `NOISE`.

    A line passes through all bands of time exactly if some slope fits every two of them.
    """
    if len(runs) < 3:
        return []
    slowest, fastest = 0.0, float("inf")
    for short, long in combinations(runs, 2):
        more = long.amount.interval.middle - short.amount.interval.middle
        t1, t2 = short.time.interval, long.time.interval
        slowest = max(slowest, (t2.low * (1 - NOISE) - t1.high * (1 + NOISE)) / more)
        fastest = min(fastest, (t2.high * (1 + NOISE) - t1.low * (1 - NOISE)) / more)
    listed = ", ".join(f"{run.amount.text} in {run.time.text}" for run in runs)
    line = f"{listed}: one fixed cost and one rate"
    if slowest <= fastest:
        return [Check("physics", line, HOLDS)]
    apart = ", ".join(
        number((b.amount.interval.middle - a.amount.interval.middle) /
               (b.time.interval.middle - a.time.interval.middle))
        if b.time.interval.middle > a.time.interval.middle else "∞"
        for a, b in pairwise(runs)
    )  # fmt: skip
    text = f"{line} explain no such times, {NOISE:.0%} of noise allowed"
    reading = f"if the rate changed: {apart} {_word(pool, runs[0].counted)}/s from length to length"
    return [Check("physics", text, FAILS, (reading,))]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.2f} min" if abs(seconds) >= 60 else f"{seconds:.2f} s"


def _word(pool: Statements, counted: str) -> str:
    if counted == "steps" and pool.step == "micro-step":
        return "micro-steps"
    return WORDS.get(counted, counted)
