"""`<results>/scripts/<name>/REFEREE.md`: the answer, every run, and curves where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.files import write_atomically
from harness.records import foreign
from harness.records.foreign import ScriptRecord, record_path
from harness.referee import answer, curves, fairness
from harness.referee.session import Outcome, duration
from harness.report.table import (
    ABSENT,
    Cell,
    Column,
    Row,
    Table,
    estimate,
    levels_note,
    markdown,
    one_line,
    plain,
)  # fmt: skip
from harness.stats.inference import t_interval

PAGE, FIGURE = "REFEREE.md", "curves.svg"
DIGITS = 4


def write(outcome: Outcome) -> Path:
    """Write the page, and the figure where there are curves; returns the page's path."""
    folder = outcome.request.results / foreign.folder_of(outcome.request.name)
    figure = curves.draw(_series(outcome), _drawn_name(outcome))
    if figure is not None:
        write_atomically(folder / FIGURE, figure)
    write_atomically(folder / PAGE, _text(outcome, figure is not None))
    return folder / PAGE


def _text(outcome: Outcome, drawn: bool) -> str:
    parts = [f"# {outcome.request.name}: {_title(outcome)}"]
    parts += [f"- {one_line(line)}" for line in _words(outcome)]
    head = "\n\n".join([parts[0], "\n".join(parts[1:])]) if parts[1:] else parts[0]
    blocks = [head, markdown(_arms(outcome)), markdown(_runs(outcome))]
    if drawn:
        blocks.append(f"![{_drawn_name(outcome)} along the runs, an arm a colour]({FIGURE})")
    return "\n\n".join(blocks) + "\n"


def _title(outcome: Outcome) -> str:
    others = ", ".join(arm.name for arm in outcome.arms[1:]) or "its noise floor"
    return f"{others} against {outcome.arms[0].name}"


def _words(outcome: Outcome) -> list[str]:
    words = [line.strip() for line in answer.as_lines(outcome)]
    found = outcome.foresight
    if found is not None:
        words.append(
            f"{outcome.request.seeds} pairs find a true difference of {found.detectable:.3g} in "
            f"80 % of cases, from {found.basis}"
        )
    return [*words, *(f"outdated: {line}" for line in outcome.outdated)]


def _arms(outcome: Outcome) -> Table:
    columns = (
        Column(outcome.metric or "metric"), Column("difference"), Column("verdict", left=True),
        Column("decision", left=True), Column("same seed twice"), Column("run", "s"),
        Column("memory", "MiB"),
    )  # fmt: skip
    notes = (levels_note({name: one.verdict for name, one in outcome.judgements.items()}),)
    rows = tuple(Row(arm.name, _arm_cells(outcome, arm.name)) for arm in outcome.arms)
    return Table(
        f"{outcome.request.name}.referee",
        f"Mean over the seeds {_seeds(outcome)} and the paired difference to "
        f"{outcome.arms[0].name}, each ± the half-width of its t interval.",
        "arm", columns, rows, notes, command=answer.command(outcome),
    )  # fmt: skip


def _seeds(outcome: Outcome) -> str:
    seeds = outcome.request.frozen_seeds
    return f"{seeds.start} to {seeds.stop - 1}"


def _arm_cells(outcome: Outcome, name: str) -> tuple[Cell, ...]:
    metric, runs = outcome.metric, outcome.records[name]
    counted = [r for r in runs if fairness.row_fault(r, metric) is None]
    asked = [r for r in counted if not r.repeat and r.seed in outcome.request.frozen_seeds]
    paths = [record_path(r) for r in asked] or [record_path(r) for r in runs]
    judged = outcome.judgements.get(name)
    values = t_interval([r.reported[metric] for r in asked] if metric else [])
    none = plain(ABSENT, paths, "does not apply", "no value")
    difference = none
    if judged is not None and judged.verdict.kind != "not comparable":
        difference = estimate(
            judged.difference, paths, f"{metric}, candidate - baseline", "pairs", digits=DIGITS,
            signed=True,
        )  # fmt: skip
    noise = fairness.own_noise(runs, metric) if metric else None
    return (
        estimate(values, paths, metric or "metric", "seeds", digits=DIGITS),
        difference,
        plain(judged.verdict.text, paths, "verdict", "paired t test, Holm over candidates")
        if judged else none,
        plain(judged.decision, paths, "decision", "from the verdict") if judged else none,
        none if noise is None else plain(f"{noise:.3g}", paths, "spread of one seed", "range"),
        _mean([r.seconds for r in counted], paths, "wall seconds", 1.0),
        _mean([float(r.peak_bytes) for r in counted if r.peak_bytes], paths, "memory", 2.0**20),
    )  # fmt: skip


def _mean(values: Sequence[float], paths: Sequence[str], what: str, unit: float) -> Cell:
    if not values:
        return plain(ABSENT, paths, what, "no value")
    return plain(f"{sum(values) / len(values) / unit:.3g}", paths, what, "mean over runs")


def _runs(outcome: Outcome) -> Table:
    columns = (
        Column("end", left=True), Column(outcome.metric or "metric"), Column("time"),
        Column("memory", "MiB"), Column("what else", left=True),
    )  # fmt: skip
    rows = [
        Row(f"{arm.name}/{r.seed}{'/again' if r.repeat else ''}", _run_cells(outcome, r))
        for arm in outcome.arms
        for r in outcome.records[arm.name]
    ]
    if not rows:
        rows = [Row("none", (plain(ABSENT, (), "no run", "nothing has run"),) * len(columns))]
    return Table(
        f"{outcome.request.name}.referee-runs",
        "Every run of this question; one that did not end well is a row with its reason.",
        "arm/seed", columns, tuple(rows),
        command=f"smol referee --trace {outcome.request.name}/ARM/SEED",
    )  # fmt: skip


def _run_cells(outcome: Outcome, record: ScriptRecord) -> tuple[Cell, ...]:
    path, metric = [record_path(record)], outcome.metric
    fault = fairness.row_fault(record, metric)
    value = record.reported.get(metric) if metric else None
    memory = f"{record.peak_bytes / 2**20:.0f}" if record.peak_bytes else ABSENT
    texts = (
        fault or "ok",
        ABSENT if value is None else f"{value:.{DIGITS}f}",
        duration(record.seconds),
        memory,
        "; ".join(record.notes) or ABSENT,
    )
    return tuple(plain(text, path, "of one run", "as recorded") for text in texts)


def _drawn_name(outcome: Outcome) -> str:
    """The metric's own curve, else the first that all that have curves share."""
    names = [set(r.curves) for runs in outcome.records.values() for r in runs if r.curves]
    shared = sorted(set.intersection(*names)) if names else []
    return outcome.metric if outcome.metric in shared and outcome.metric else next(iter(shared), "")


def _series(outcome: Outcome) -> list[curves.Series]:
    name = _drawn_name(outcome)
    return [
        curves.Series(arm.name, place, record.curves[name])
        for place, arm in enumerate(outcome.arms)
        for record in outcome.records[arm.name]
        if name in record.curves and record.repeat == 0
    ]
