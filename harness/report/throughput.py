"""The view `throughput`: what the arms' launches took, fixed and steady, and who is the faster.

Pure: a section's records in, tables out. May not import torch.
"""

from __future__ import annotations

import statistics as stats

from harness.evidence import launches
from harness.evidence.launches import Against, Arm, Run
from harness.evidence.sections import Section
from harness.report.tables import ABSENT, NONE, Cell, Column, Row, Table, estimate, plain
from harness.stats.line import Line

REFERENCE = "the reference"
IMPOSSIBLE = "below zero: not a property of any machine"


def tables(section: Section) -> list[Table]:
    """The arms, and the launches that do not count."""
    found = [throughput(section)]
    left_out = excluded(section)
    return [*found, left_out] if left_out is not None else found


def throughput(section: Section) -> Table:
    """A row an arm: launches, rate, fixed cost, fit, ratio to the reference, break-even."""
    question, base = section.group.question, launches.reference(section)
    rows = []
    for name in question.arms:
        one = launches.arm(section, name)
        versus = launches.against(section, name) if name != base else None
        rows.append(Row(name, (*_alone(section, one), *_compared(one, versus, section))))
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
            Column("fit_residual", "s"),
            Column("compiling", "s"),
            Column("cache", left=True),
            Column("ratio", left=True),
            Column("loss_difference", "nats/token"),
            Column("break_even", "updates", left=True),
        ),
        rows=tuple(rows),
        notes=(
            "steady_rate: tokens a second after warm-up (the first tenth of the updates, at least "
            "three), evaluation, checkpoints and compilation apart; mean over blocks ± half-width "
            "of its 95 % t interval.",
            "fixed, steady: least squares of seconds (process start to the last update, without "
            "evaluations and checkpoints) on updates, over all launches that count; [95 % "
            "interval]; fit_residual is the standard deviation around it.",
            "ratio: exp of the mean log ratio of steady rates over blocks, [95 % t interval]. "
            "Shown only where the losses are equivalent: the 95 % interval of loss_difference "
            f"within ± {margin} nats.",
            "break_even: updates from which the arm has earned back what it costs more at first; "
            "95 % interval by the delta method, on differences paired within blocks.",
        ),
        command=section.group.command,
    )


def _alone(section: Section, one: Arm) -> tuple[Cell, ...]:
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
        *_line(one),
        plain(
            f"{stats.fmean(compiling):.1f}" if compiling else NONE, counted,
            "seconds in torch's compiler, in updates and evaluations", "mean over launches",
        ),
        plain(
            ", ".join(words[cache] for cache in caches) or NONE, made,
            "compiler cache at the start of a launch", "the same in all launches",
        ),
    )  # fmt: skip


def _line(one: Arm) -> tuple[Cell, Cell, Cell]:
    paths = [run.path for run in one.counted]
    lengths = sorted({run.updates for run in one.counted})
    how = f"least squares over launches of {', '.join(map(str, lengths))} updates"
    fixed, steady, residual = (
        "fixed seconds of a run", "milliseconds an update", "residual standard deviation, seconds",
    )  # fmt: skip
    line = one.line
    if line is None:
        return (
            plain(NONE, paths, fixed, how),
            plain(NONE, paths, steady, how),
            plain(NONE, paths, residual, how),
        )
    note = f" ({IMPOSSIBLE})" if line.fixed < 0.0 else ""
    return (
        _bounded(line, line.fixed, line.fixed_interval(), "{:.1f}", fixed, how, paths, note),
        _bounded(
            line, 1e3 * line.steady, _scaled(line.steady_interval(), 1e3), "{:.1f}", steady, how,
            paths, "",
        ),
        plain(ABSENT if line.spread is None else f"{line.spread:.2f}", paths, residual, how),
    )  # fmt: skip


def _scaled(bounds: tuple[float, float] | None, by: float) -> tuple[float, float] | None:
    return None if bounds is None else (bounds[0] * by, bounds[1] * by)


def _bounded(
    line: Line,
    value: float,
    bounds: tuple[float, float] | None,
    form: str,
    what: str,
    how: str,
    paths: list[str],
    note: str,
) -> Cell:
    text = form.format(value)
    if bounds is not None:
        text += f" [{form.format(bounds[0])}, {form.format(bounds[1])}]"
    return Cell(text + note, tuple(paths), what, how, line.df + 2, bounds)


def _compared(one: Arm, versus: Against | None, section: Section) -> tuple[Cell, Cell, Cell]:
    question = section.group.question
    if versus is None:
        paths = [run.path for run in one.counted]
        return (
            plain(REFERENCE, paths, "steady rate over the reference's", "it is the reference"),
            plain(ABSENT, paths, "loss difference to the reference", "it is the reference"),
            plain(ABSENT, paths, "break-even updates", "it is the reference"),
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
    return ratio_cell(section, versus), loss, _break_even(versus, behind)


def ratio_cell(section: Section, versus: Against) -> Cell:
    """How many times as fast as its reference an arm is, or why that is not shown."""
    what = f"steady rate of {versus.arm} over {versus.reference}'s"
    n, behind = versus.log_ratio.n, _behind(section, versus)
    if (shown := versus.ratio) is None:
        return Cell(versus.reason or NONE, behind, what, "not shown", n)
    value, (low, high) = shown
    text = f"{value:.3f} [{low:.3f}, {high:.3f}] ({n})"
    return Cell(text, behind, what, "exp of the mean log ratio over blocks", n, (low, high))


def _behind(section: Section, versus: Against) -> tuple[str, ...]:
    """Where nothing may be shown, the trace still leads to the launches that say why."""
    arms = (versus.reference, versus.arm)
    return versus.paths or tuple(r.path for arm in arms for r in launches.arm(section, arm).made)


def _break_even(versus: Against, paths: tuple[str, ...]) -> Cell:
    what = f"updates from which {versus.arm} has earned back what it costs more at first"
    how = "crossing of the lines, fitted to differences paired within blocks; delta method"
    if versus.reason is not None:
        return Cell(versus.reason.partition(":")[0], paths, what, "not shown", 0)
    found = versus.crossing
    if found is None:
        return Cell("not fitted: one length", paths, what, how, len(versus.pairs))
    if found.updates is None:
        return Cell(found.reason or NONE, paths, what, how, len(versus.pairs))
    text = f"{found.updates:,.0f}"
    if found.interval is not None:
        text += f" [{found.interval[0]:,.0f}, {found.interval[1]:,.0f}]"
    return Cell(text, paths, what, how, len(versus.pairs), found.interval)


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
