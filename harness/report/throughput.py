"""The view `throughput`: what the arms' launches took, fixed and steady, and who is the faster.

Pure: a section's records in, tables out. May not import torch.
"""

from __future__ import annotations

import dataclasses
import statistics as stats

from harness.evidence import launches
from harness.evidence.launches import Against, Arm, Run
from harness.evidence.sections import Section
from harness.report.tables import (
    ABSENT,
    NONE,
    Cell,
    Column,
    Row,
    Table,
    estimate,
    levels_note,
    plain,
)
from harness.stats.inference import POWER, Estimate
from harness.stats.line import REACH

REFERENCE = "the reference"


def tables(section: Section) -> list[Table]:
    """The arms, and the launches that do not count."""
    found = [throughput(section)]
    left_out = excluded(section)
    return [*found, left_out] if left_out is not None else found


def throughput(section: Section) -> Table:
    """A row an arm: launches, rate, fixed cost, fit, ratio to the reference, break-even."""
    question, base = section.group.question, launches.reference(section)
    versus, rows = launches.compared(section), []
    for name in question.arms:
        one = launches.arm(section, name)
        rows.append(Row(name, (*_alone(one), *_compared(one, versus.get(name), section))))
    margin = f"{question.margin:g}" if question.margin is not None else "no"
    return Table(
        name=f"{section.name}.throughput",
        caption=(
            "Timing launches: each alone on the machine, arms in turn (ABBA), one block a seed, "
            f"every length a run of its own. Ratios are to `{base}`, paired within blocks."
        ),
        corner="arm",
        columns=(
            Column("launches"),
            Column("steady_rate", "tokens/s"),
            Column("fixed", "s"),
            Column("steady", "ms/update"),
            Column("compiling", "s"),
            Column("cache", left=True),
            Column("ratio", left=True),
            Column("loss_difference", "nats/token"),
            Column("break_even", "updates", left=True),
            Column("detectable", "of rates", left=True),
            Column("verdict", left=True),
        ),
        rows=tuple(rows),
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


def _alone(one: Arm) -> tuple[Cell, ...]:
    made, counted = [run.path for run in one.made], [run.path for run in one.counted]
    caches = sorted({r.timing.launch.cache for r in one.made if r.timing.launch})
    words = {"private": "cold", "shared": "warm"}
    compiling = [
        run.timing.compile_seconds for run in one.counted if run.timing.compile_seconds is not None
    ]
    return (
        plain(
            f"{len(counted)} of {len(made)}" if made else NONE, made,
            "launches that count, of those that ended well", "count",
        ),
        estimate(
            one.rate, counted, "steady tokens a second", "blocks", digits=0,
        ),
        estimate(
            one.fixed, counted, "seconds of a run that do not repeat", "blocks", digits=1,
        ),
        estimate(
            _milliseconds(one.steady), counted, "milliseconds an update", "blocks", digits=1,
        ),
        plain(
            f"{stats.fmean(compiling):.1f}" if compiling else NONE, counted,
            "seconds in torch's compiler, in updates and evaluations", "mean over launches",
        ),
        plain(
            ", ".join(words[cache] for cache in caches) or NONE, made,
            "compiler cache at the start of a launch", "the same in all launches",
        ),
    )  # fmt: skip


def _milliseconds(of: Estimate) -> Estimate:
    mean, sd, half = (None if v is None else 1e3 * v for v in (of.mean, of.sd, of.half))
    return dataclasses.replace(of, mean=mean, sd=sd, half=half)


def _compared(one: Arm, versus: Against | None, section: Section) -> tuple[Cell, ...]:
    question = section.group.question
    if versus is None:
        paths = [run.path for run in one.counted]
        return (
            plain(REFERENCE, paths, "steady rate over the reference's", "it is the reference"),
            plain(ABSENT, paths, "loss difference to the reference", "it is the reference"),
            plain(ABSENT, paths, "break-even updates", "it is the reference"),
            plain(ABSENT, paths, "detectable ratio of rates", "it is the reference"),
            plain(ABSENT, paths, "verdict on the rates", "it is the reference"),
        )
    behind = _behind(section, versus)
    ends = [section.group.reached(arm, question.at) for arm in (versus.reference, versus.arm)]
    loss = estimate(
        versus.loss,
        [end.path for of_arm in ends for end in of_arm],
        f"validation loss of {versus.arm} less {versus.reference} at horizon {question.at}",
        "seeds",
        digits=4,
        signed=True,
    )
    return (
        ratio_cell(section, versus),
        loss,
        _break_even(versus, behind),
        detectable_cell(section, versus),
        verdict_cell(section, versus),
    )


def ratio_cell(section: Section, versus: Against) -> Cell:
    """How many times as fast as its reference an arm is, or why that is not shown."""
    what = f"steady rate of {versus.arm} over {versus.reference}'s"
    n, behind = versus.log_ratio.n, _behind(section, versus)
    if (shown := versus.ratio) is None:
        return Cell(versus.reason or NONE, behind, what, "not shown", n)
    value, (low, high) = shown
    text = f"{value:.3f} [{low:.3f}, {high:.3f}] ({n})"
    how = f"exp of the mean log ratio over blocks, {100 * versus.log_ratio.level:g} % t interval"
    return Cell(text, behind, what, how, n, (low, high))


def detectable_cell(section: Section, versus: Against) -> Cell:
    """The ratio of rates that the blocks would have shown."""
    ratio = versus.detectable
    return plain(
        ABSENT if ratio is None else f"{ratio:.3f} or {1.0 / ratio:.3f}",
        _behind(section, versus),
        f"ratio of rates detectable at {100 * POWER:g} % power, faster or slower",
        "from the noncentral t distribution and the standard deviation of the log ratios",
        versus.log_ratio.n,
    )


def verdict_cell(section: Section, versus: Against) -> Cell:
    """What may be said of the rates."""
    pairs = len(section.group.question.pairs)
    return plain(
        versus.verdict,
        _behind(section, versus),
        f"verdict on: steady rate of {versus.arm} over {versus.reference}'s",
        f"paired t test of log ratios at 5 %{f', Holm over {pairs} pairs' if pairs > 1 else ''}",
        versus.log_ratio.n,
    )


def _behind(section: Section, versus: Against) -> tuple[str, ...]:
    """Where nothing may be shown, the trace still leads to the launches that say why."""
    arms = (versus.reference, versus.arm)
    return versus.paths or tuple(r.path for arm in arms for r in launches.arm(section, arm).made)


def _break_even(versus: Against, paths: tuple[str, ...]) -> Cell:
    what = f"updates from which {versus.arm} has earned back what it costs more at first"
    found = versus.crossing
    if found is None:
        return Cell(versus.verdict.partition(":")[0], paths, what, "not shown", 0)
    level = f"{100 * versus.log_ratio.level:g} %"
    how = f"extra fixed seconds over seconds saved an update, blocks paired; Fieller at {level}"
    return Cell(found.text, paths, what, how, versus.log_ratio.n, found.interval)


def excluded(section: Section) -> Table | None:
    """A row for each launch that does not count, with the reason; None where all do."""
    rows = [
        Row(f"{run.record.arm}/{run.record.seed}/{run.record.stage}", _why(run))
        for name in section.group.question.arms
        for run in launches.arm(section, name).made
        if run.fault is not None
    ]
    if not rows:
        return None
    return Table(
        name=f"{section.name}.excluded",
        caption="Launches that are left out of every rate, fit and ratio above, and why.",
        corner="launch",
        columns=(
            Column("steady_rate", "tokens/s"),
            Column("others_before", "cores"),
            Column("others_during", "cores"),
            Column("reason", left=True),
        ),
        rows=tuple(rows),
        command=section.group.command,
    )


def _why(run: Run) -> tuple[Cell, ...]:
    launch = run.timing.launch
    before = launch.before.others if launch and launch.before else None
    during = launch.after.others if launch and launch.after else None
    rate = run.timing.steady_tokens_per_second
    busy = "cores that other processes kept busy"
    return (
        plain(NONE if rate is None else f"{rate:,.0f}", [run.path], "steady tokens a second",
              "the record's"),
        plain(NONE if before is None else f"{before:.2f}", [run.path],
              f"{busy} in the second before the launch", "the record's"),
        plain(NONE if during is None else f"{during:.2f}", [run.path],
              f"{busy} while it ran", "the record's"),
        plain(run.fault or "", [run.path], "why the launch does not count", "the record's"),
    )  # fmt: skip
