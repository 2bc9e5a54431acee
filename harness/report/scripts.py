"""`<results>/scripts/<name>/REFEREE.md`: the answer, every run, and curves where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.files import write_atomically
from harness.records import foreign
from harness.records.foreign import ScriptRecord, record_path
from harness.referee import answer, fairness
from harness.referee.case import Outcome
from harness.referee.output import duration
from harness.report import script_curves as curves
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


def page_of(name: str) -> str:
    """The page's file, relative to the results folder."""
    return f"{foreign.folder_of(name)}/{PAGE}"


def write(results: Path, outcome: Outcome) -> Path:
    """Write the page, and the figure where there are curves; returns the page's path."""
    texts = {page_of(outcome.asked.name): text(parts(outcome)), **figure(outcome)}
    for file, content in texts.items():
        write_atomically(results / file, content)
    return results / page_of(outcome.asked.name)


def figure(outcome: Outcome) -> dict[str, str]:
    """The curves' file and what it holds; empty without curves."""
    drawn = curves.draw(_series(outcome), _drawn_name(outcome))
    return {} if drawn is None else {f"{foreign.folder_of(outcome.asked.name)}/{FIGURE}": drawn}


def text(made: Sequence[str | Table]) -> str:
    """A page's text."""
    return "\n\n".join(p if isinstance(p, str) else markdown(p) for p in made) + "\n"


def parts(outcome: Outcome) -> list[str | Table]:
    """What the page is made of."""
    asked = outcome.asked
    words = [*([asked.summary] if asked.summary else []), *_words(outcome)]
    lines = "\n".join(f"- {one_line(line)}" for line in words)
    made: list[str | Table] = [f"# {asked.name}: {_title(outcome)}", *([lines] if lines else [])]
    made += [_arms(outcome), _runs(outcome)]
    if name := _drawn_name(outcome):
        made.append(f"![{name} along the runs, an arm a colour]({FIGURE})")
    return made


def _title(outcome: Outcome) -> str:
    others = ", ".join(arm.name for arm in outcome.asked.arms[1:]) or "its noise floor"
    return f"{others} against {outcome.asked.arms[0].name}"


def _words(outcome: Outcome) -> list[str]:
    words = [line.strip() for line in answer.as_lines(outcome)]
    found = outcome.foresight
    if found is not None:
        words.append(
            f"{outcome.asked.seeds} pairs find a true difference of {found.detectable:.3g} in "
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
    rows = tuple(Row(arm.name, _arm_cells(outcome, arm.name)) for arm in outcome.asked.arms)
    return Table(
        f"{outcome.asked.name}.referee",
        f"Mean over the seeds {_seeds(outcome)} and the paired difference to "
        f"{outcome.asked.arms[0].name}, each ± the half-width of its t interval.",
        "arm", columns, rows, notes, command=answer.command(outcome),
    )  # fmt: skip


def _seeds(outcome: Outcome) -> str:
    seeds = outcome.asked.frozen_seeds
    return f"{seeds.start} to {seeds.stop - 1}"


def _arm_cells(outcome: Outcome, name: str) -> tuple[Cell, ...]:
    metric, runs = outcome.metric, outcome.records[name]
    counted = [r for r in runs if fairness.row_fault(r, metric) is None]
    asked = [r for r in counted if not r.repeat and r.seed in outcome.asked.frozen_seeds]
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
        for arm in outcome.asked.arms
        for r in outcome.records[arm.name]
    ]
    if not rows:
        rows = [Row("none", (plain(ABSENT, (), "no run", "nothing has run"),) * len(columns))]
    return Table(
        f"{outcome.asked.name}.referee-runs",
        "Every run of this question; one that did not end well is a row with its reason.",
        "arm/seed", columns, tuple(rows),
        command=f"smol referee --trace {outcome.asked.name}/ARM/SEED",
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
        for place, arm in enumerate(outcome.asked.arms)
        for record in outcome.records[arm.name]
        if name in record.curves and record.repeat == 0
    ]


def table(outcomes: Sequence[Outcome]) -> Table | None:
    """The card's rows about scripts: every candidate, and what came of it."""
    rows = []
    for outcome in outcomes:
        for arm in outcome.asked.arms[1:]:
            cells = _arm_cells(outcome, arm.name)
            metric = plain(outcome.metric or ABSENT, cells[0].records, "metric", "as asked")
            baseline = plain(outcome.asked.arms[0].name, cells[0].records, "baseline", "as asked")
            rows.append(Row(f"{outcome.asked.name}:{arm.name}", (baseline, metric, *cells[1:4])))
    if not rows:
        return None
    columns = (
        Column("baseline", left=True), Column("metric", left=True), Column("difference"),
        Column("verdict", left=True), Column("decision", left=True),
    )  # fmt: skip
    return Table(
        "scripts",
        "Other people's training scripts, each against its baseline over paired seeds: candidate "
        "less baseline in the script's own metric, ± the half-width of the t interval. The "
        "metric is what the script says of itself; no two comparisons' metrics are of one kind.",
        "comparison:arm", columns, tuple(rows),
    )  # fmt: skip
