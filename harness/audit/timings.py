"""Timed runs of one arm at several lengths: `fixed + amount / steady rate` against the print.

Two lengths give both numbers; a fixed cost below zero, or a longer run that took less time, is
not a property of any machine.
"""

from __future__ import annotations

from itertools import combinations

from harness.audit.checks import FAILS, HOLDS, Check
from harness.audit.claims import Run
from harness.audit.interval import Interval, exact
from harness.audit.pool import Pool
from harness.audit.solve import number, quantity

WORDS = {"micro_steps": "micro-steps"}


def checks(pool: Pool) -> list[Check]:
    """Each run's printed rate, then the fit of each pair of lengths."""
    runs = sorted(pool.claim.runs, key=lambda run: run.amount.interval.middle)
    found = [check for run in runs for check in _rate(run)]
    pairs = [
        (short, long)
        for short, long in combinations(runs, 2)
        if short.counted == long.counted and short.amount.interval.high < long.amount.interval.low
    ]
    for short, long in pairs:
        found += _fit(pool, short, long)
    return found


def _rate(run: Run) -> list[Check]:
    if run.rate is None:
        return []
    real = run.amount.interval / run.time.interval
    text = f"{run.amount.text} / {run.time.text} = {number(real.middle)}/s, stated {run.rate.text}"
    if real.overlaps(run.rate.interval):
        return [Check("arithmetic", text, HOLDS)]
    return [Check("arithmetic", text, FAILS, (f"if the rate were {number(real.middle)}/s",))]


def _fit(pool: Pool, short: Run, long: Run) -> list[Check]:
    t1, t2 = short.time.interval, long.time.interval
    n1, n2 = short.amount.interval, long.amount.interval
    word = _word(pool, short.counted)
    if t2.high <= t1.low:
        text = f"{long.amount.text} {word} took less time than {short.amount.text}"
        return [Check("physics", text, FAILS, ("if the two rows were exchanged",))]
    # Amounts of runs are chosen, not measured: their middles are exact.
    a, b = n1.middle, n2.middle
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


def _judged(text: str, short: Run, long: Run, fixed: Interval) -> Check:
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


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.2f} min" if abs(seconds) >= 60 else f"{seconds:.2f} s"


def _word(pool: Pool, counted: str) -> str:
    if counted == "steps" and pool.step == "micro-step":
        return "micro-steps"
    return WORDS.get(counted, counted)
