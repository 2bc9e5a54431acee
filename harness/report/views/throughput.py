"""The view `throughput`: what the arms' launches took, fixed and steady, and who is the faster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from harness.config import Frozen
from harness.evidence import launches
from harness.evidence.launches import Against, TimedArm, TimedLaunch
from harness.evidence.sections import Section
from harness.report.columns import Found, Measure, estimated, given, mean, same, tabulate, text
from harness.report.draw import Figure, Shown, figure_of
from harness.report.table import ABSENT, NONE, Cell, Table, levels_note, plain
from harness.stats.inference import POWER, Estimate
from harness.stats.line import REACH

REFERENCE = "the reference"


def tables(section: Section) -> list[Table]:
    """The arms, and the launches that do not count."""
    return [table for table in (_throughput(section), _excluded(section)) if table.rows]


def _throughput(section: Section) -> Table:
    """A row an arm: launches, rate, fixed cost, fit, ratio to the reference, break-even."""
    question, base = section.group.question, launches.reference(section)
    versus = launches.compared(section)
    margin = f"{question.margin:g}" if question.margin is not None else "no"
    return tabulate(
        f"{section.name}.throughput",
        "Timing launches: each alone on the machine, arms in turn (ABBA), one block a seed, "
        f"every length a run of its own. Ratios are to `{base}`, paired within blocks.",
        "arm",
        [*map(_alone, ALONE), *map(_against, _compared(section))],
        [(name, (launches.arm(section, name), versus.get(name))) for name in question.arms],
        notes=(
            "steady_rate: tokens a second after warm-up (the first tenth of the updates, at least "
            "three), evaluation, checkpoints and compilation apart; mean over blocks ± half-width "
            "of its 95 % t interval.",
            "steady: seconds an update after warm-up; fixed: the other seconds from process start "
            "to the last update, evaluations and checkpoints left out, so set-up, compilation and "
            "slower first updates; of each launch by itself, mean over blocks ± half-width of its "
            "95 % t interval.",
            "ratio: exp of the mean log ratio of steady rates over blocks, [t interval]. "
            "Shown only where the losses are equivalent: the 95 % interval of loss_difference "
            f"within ± {margin} nats.",
            "break_even: updates from which the arm has earned back what it costs more at first, "
            "from fixed and steady paired within blocks, [Fieller's interval]. A number only where "
            f"the whole interval lies within {REACH:g} times the longest launch; `at least`: "
            "before that it surely has not.",
            "detectable: the ratio of rates that this many blocks, spread as these are, would show "
            "in 80 % of cases.",
            levels_note({name: one.judged for name, one in versus.items()}),
        ),
        command=section.group.command,
    )


Compared = tuple[TimedArm, Against | None]
"""An arm by itself, and against the reference; None where it is the reference."""


def _alone(measure: Measure[TimedArm]) -> Measure[Compared]:
    return given(measure.name, lambda row: measure.cell(row[0]), measure.unit, left=measure.left)


def _against(measure: Measure[Against]) -> Measure[Compared]:
    def cell(row: Compared) -> Cell:
        one, versus = row
        if versus is not None:
            return measure.cell(versus)
        said = REFERENCE if measure.name == "ratio" else ABSENT
        return plain(said, _counted(one), OF_REFERENCE[measure.name], "it is the reference")

    return given(measure.name, cell, measure.unit, left=measure.left)


def _made(one: TimedArm) -> list[str]:
    return [run.path for run in one.made]


def _counted(one: TimedArm) -> list[str]:
    return [run.path for run in one.counted]


def _compiling(one: TimedArm) -> Found:
    return [
        (run.timing.compile_seconds, run.path)
        for run in one.counted
        if run.timing.compile_seconds is not None
    ]


def _milliseconds(of: Estimate) -> Estimate:
    mean, sd, half = (None if v is None else 1e3 * v for v in (of.mean, of.sd, of.half))
    return dataclasses.replace(of, mean=mean, sd=sd, half=half)


WORDS = {"private": "cold", "shared": "warm"}
ALONE: tuple[Measure[TimedArm], ...] = (
    Measure(
        "launches", "launches that count, of those that ended well",
        lambda one: [
            (f"{len(one.counted)} of {len(one.made)}" if one.made else NONE, _made(one))
        ],
        text("count"),
    ),
    Measure(
        "steady_rate", "steady tokens a second", lambda one: [(one.rate, _counted(one))],
        estimated("blocks", digits=0), "tokens/s",
    ),
    Measure(
        "fixed", "seconds of a run that do not repeat",
        lambda one: [(one.fixed, _counted(one))], estimated("blocks", digits=1), "s",
    ),
    Measure(
        "steady", "milliseconds an update",
        lambda one: [(_milliseconds(one.steady), _counted(one))],
        estimated("blocks", digits=1), "ms/update",
    ),
    Measure(
        "compiling", "seconds in torch's compiler, in updates and evaluations", _compiling,
        mean("mean over launches", form="{:.1f}"), "s",
    ),
    Measure(
        "cache", "compiler cache at the start of a launch",
        lambda one: [
            (run.timing.launch.cache, run.path) for run in one.made if run.timing.launch
        ],
        same("the same in all launches", form=WORDS.__getitem__), left=True,
    ),
)  # fmt: skip
OF_REFERENCE = {
    "ratio": "steady rate over the reference's",
    "loss_difference": "loss difference to the reference",
    "break_even": "break-even updates",
    "detectable": "detectable ratio of rates",
    "verdict": "verdict on the rates",
}
"""What stands in the columns of comparison in the reference's own row."""


def _compared(section: Section) -> list[Measure[Against]]:
    return [
        ratio(section), _loss(section), _break_even(section), detectable(section), verdict(section),
    ]  # fmt: skip


def behind(section: Section, versus: Against) -> tuple[str, ...]:
    """Where nothing may be shown, the trace still leads to the launches that say why."""
    arms = (versus.reference, versus.arm)
    return versus.paths or tuple(r.path for arm in arms for r in launches.arm(section, arm).made)


def ratio(section: Section) -> Measure[Against]:
    """How many times as fast as its reference an arm is, or why that is not shown."""

    def cell(versus: Against) -> Cell:
        what = f"steady rate of {versus.arm} over {versus.reference}'s"
        n, files = versus.log_ratio.n, behind(section, versus)
        if (shown := versus.ratio) is None:
            return Cell(versus.reason or NONE, files, what, "not shown", n)
        value, (low, high) = shown
        level = f"{100 * versus.log_ratio.level:g} %"
        how = f"exp of the mean log ratio over blocks, {level} t interval"
        return Cell(f"{value:.3f} [{low:.3f}, {high:.3f}] ({n})", files, what, how, n, (low, high))

    return given("ratio", cell, left=True)


def _loss(section: Section) -> Measure[Against]:
    at, reached = section.group.question.at, section.group.reached

    def values(versus: Against) -> Found:
        ends = [end for arm in (versus.reference, versus.arm) for end in reached(arm, at)]
        return [(versus.loss, [end.path for end in ends])]

    return Measure(
        "loss_difference",
        lambda versus: (
            f"validation loss of {versus.arm} less {versus.reference} at horizon {at}"
        ),
        values, estimated("seeds", digits=4, signed=True), "nats/token",
    )  # fmt: skip


def _break_even(section: Section) -> Measure[Against]:
    def cell(versus: Against) -> Cell:
        what = f"updates from which {versus.arm} has earned back what it costs more at first"
        found, files = versus.crossing, behind(section, versus)
        if found is None:
            return Cell(versus.verdict.partition(":")[0], files, what, "not shown", 0)
        level = f"{100 * versus.log_ratio.level:g} %"
        how = f"extra fixed seconds over seconds saved an update, blocks paired; Fieller at {level}"
        return Cell(found.text, files, what, how, versus.log_ratio.n, found.interval)

    return given("break_even", cell, "updates", left=True)


def detectable(section: Section) -> Measure[Against]:
    """The ratio of rates that the blocks would have shown."""

    def cell(versus: Against) -> Cell:
        found = versus.detectable
        return plain(
            ABSENT if found is None else f"{found:.3f} or {1.0 / found:.3f}",
            behind(section, versus),
            f"ratio of rates detectable at {100 * POWER:g} % power, faster or slower",
            "from the noncentral t distribution and the standard deviation of the log ratios",
            versus.log_ratio.n,
        )

    return given("detectable", cell, "of rates", left=True)


def verdict(section: Section) -> Measure[Against]:
    """What may be said of the rates."""
    pairs = len(section.group.question.pairs)
    how = f"paired t test of log ratios at 5 %{f', Holm over {pairs} pairs' if pairs > 1 else ''}"

    def cell(versus: Against) -> Cell:
        what = f"verdict on: steady rate of {versus.arm} over {versus.reference}'s"
        return plain(versus.verdict, behind(section, versus), what, how, versus.log_ratio.n)

    return given("verdict", cell, left=True)


def _excluded(section: Section) -> Table:
    """A row for each launch that does not count, with the reason."""
    return tabulate(
        f"{section.name}.excluded",
        "Launches that are left out of every rate, fit and ratio above, and why.",
        "launch",
        EXCLUDED,
        [
            (f"{run.record.arm}/{run.record.seed}/{run.record.stage}", run)
            for name in section.group.question.arms
            for run in launches.arm(section, name).made
            if run.fault is not None
        ],
        command=section.group.command,
    )


def _of_launch(
    name: str, what: str, value: Callable[[TimedLaunch], str], unit: str = "", *, left: bool = False
) -> Measure[TimedLaunch]:
    return Measure(
        name, what, lambda run: [(value(run), run.path)], text("the record's"), unit, left
    )


def _others(run: TimedLaunch, when: str) -> str:
    launch = run.timing.launch
    state = getattr(launch, when) if launch else None
    return NONE if state is None or state.others is None else f"{state.others:.2f}"


def _steady(run: TimedLaunch) -> str:
    rate = run.timing.steady_tokens_per_second
    return NONE if rate is None else f"{rate:,.0f}"


EXCLUDED = (
    _of_launch("steady_rate", "steady tokens a second", _steady, "tokens/s"),
    _of_launch(
        "others_before", "cores that other processes kept busy in the second before the launch",
        lambda run: _others(run, "before"), "cores",
    ),
    _of_launch(
        "others_during", "cores that other processes kept busy while it ran",
        lambda run: _others(run, "after"), "cores",
    ),
    _of_launch("reason", "why the launch does not count", lambda run: run.fault or "", left=True),
)  # fmt: skip


# -- the figure --------------------------------------------------------------------------------


class LaunchPoint(Frozen):
    """One launch."""

    arm: str
    updates: int
    seconds: float
    counted: bool
    """False where it was contaminated or not timed."""


class Fitted(Frozen):
    """An arm's line."""

    arm: str
    fixed: float
    """Seconds."""
    steady: float
    """Seconds an update."""


class Crossing(Frozen):
    """Where an arm has earned back what it costs more at first."""

    arm: str
    updates: float
    interval: tuple[float, float]


class Totals(Shown):
    """All that the figure shows."""

    arms: tuple[str, ...]
    points: tuple[LaunchPoint, ...]
    lines: tuple[Fitted, ...]
    crossings: tuple[Crossing, ...]


def totals(section: Section) -> Totals | None:
    """The figure's data; None where no launch ended well."""
    question = section.group.question
    arms = [launches.arm(section, name) for name in question.arms]
    points = [
        LaunchPoint(
            arm=one.name, updates=run.updates, seconds=run.seconds, counted=run.fault is None
        )
        for one in arms
        for run in one.made
    ]  # fmt: skip
    if not points:
        return None
    crossings = []
    for name, versus in launches.compared(section).items():
        found = versus.crossing
        if found is not None and found.updates is not None and found.interval is not None:
            crossings.append(Crossing(arm=name, updates=found.updates, interval=found.interval))
    return Totals(
        title=section.title,
        arms=question.arms,
        points=tuple(points),
        lines=tuple(
            Fitted(arm=one.name, fixed=one.line.fixed, steady=one.line.steady)
            for one in arms
            if one.line is not None
        ),
        crossings=tuple(crossings),
    )


def figure(section: Section) -> Figure | None:
    """A run's seconds against its updates, a line an arm."""
    return figure_of(
        section,
        "throughput.figure",
        totals(section),
        "seconds of a run against its updates",
        "Each marker a launch, hollow where it does not count; lines: fixed + updates x "
        "steady of the table; dashed: break-even with its interval, where it is resolved.",
    )
