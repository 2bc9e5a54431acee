"""What the card says in sentences, each a cell: findings, sizes, time spent, texts; and the forest.

The figures behind them stand in the tables of the recipes' pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness.evidence import launches
from harness.evidence.differences import Difference, differences
from harness.evidence.launches import Against
from harness.evidence.machines import kind
from harness.evidence.sections import Section
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.columns import Measure, text
from harness.report.draw import Figure, Shown
from harness.report.table import Cell, Row, Table, millions
from harness.report.views import scope, throughput
from harness.report.views.answers import link
from harness.report.views.difference import judged
from harness.report.views.loss import LOSS_DIGITS
from harness.stats.inference import t_interval

Sentence = tuple[Cell, ...]


def listed(name: str, caption: str, sentences: Iterable[Sentence], columns: Sequence[str]) -> Table:
    """A view that is a numbered list: a row is a number, its cells are printed one after another.

    `columns` name the cells of a sentence.
    """
    blank = [Measure(column, "", lambda _: (), text("")).column for column in columns]
    rows = tuple(Row(str(n), cells) for n, cells in enumerate(sentences, 1))
    return Table(name, caption, "", tuple(blank), rows, command="smol card", listed=True)


def findings(found: Sequence[Section]) -> Table | None:
    """A sentence a pair that a recipe asked for beforehand; None where none asked."""
    said = [s for section in found for s in (*_losses(section), *_rates(section))]
    if not said:
        return None
    sentences = sorted(said, key=lambda sentence: sentence[0].interval is None)
    return listed(
        "findings",
        "Every question that a recipe asked before it ran. Differences are of validation loss in "
        "nats a token, paired by seed, ± the half-width of their interval; below 0 the arm is "
        "better. What is not comparable has no number.",
        sentences,
        ("answer", "details"),
    )


def _losses(section: Section) -> Iterable[Sentence]:
    if "comparison" not in section.group.question.views:
        return
    for one in differences(section):
        if one.primary and one.verdict is not None:
            cell = Cell(
                f"{_where(section)}: {_said(one)}.", one.records,
                f"verdict on: validation loss of {one.arm} less {one.against}, nats a token",
                judged(section), one.value.n, _interval(one),
            )  # fmt: skip
            yield cell, _details(section, one.records)


def _where(section: Section) -> str:
    return f"`{section.recipe}` at {section.scale} on {section.device}"


def _interval(one: Difference) -> tuple[float, float] | None:
    return one.value.interval if one.verdict and one.verdict.kind != "not comparable" else None


def _said(one: Difference) -> str:
    verdict, value = one.verdict, one.value
    pair = f"{one.arm} against {one.against}"
    if verdict is None or verdict.kind == "not comparable" or value.mean is None:
        return f"{pair}: {verdict.text if verdict else ''}"
    half = "" if value.half is None else f" ± {value.half:.{LOSS_DIGITS}f}"
    shown = verdict.detectable
    power = "" if shown is None else f"; {shown:.{LOSS_DIGITS}f} would have shown in 80 % of cases"
    return (
        f"{pair}: **{verdict.text}**, {value.mean:+.{LOSS_DIGITS}f}{half} over {value.n} pairs"
        f"{power}"
    )


def _rates(section: Section) -> Iterable[Sentence]:
    question = section.group.question
    if "throughput" not in question.views:
        return
    for arm, versus in launches.compared(section).items():
        if (versus.reference, arm) in question.pairs:
            files = throughput.behind(section, versus)
            cell = Cell(
                f"{_where(section)}: {_rate(versus)}.", files,
                f"verdict on: steady rate of {versus.arm} over {versus.reference}'s",
                "paired t test of log ratios at 5 %", versus.log_ratio.n,
                versus.ratio[1] if versus.ratio else None,
            )  # fmt: skip
            yield cell, _details(section, files)


def _rate(versus: Against) -> str:
    pair = f"{versus.arm} against {versus.reference}"
    if versus.ratio is None:
        return f"{pair}: {versus.verdict}"
    value, (low, high) = versus.ratio
    return (
        f"{pair}: **{versus.verdict}**, {value:.3f} times as fast [{low:.3f}, {high:.3f}] over "
        f"{versus.log_ratio.n} blocks"
    )


def _details(section: Section, files: Sequence[str]) -> Cell:
    return Cell(
        f"[Details]({link(section, 'cards/')})", tuple(files), "the section of the recipe's page",
        "its heading", len(files),
    )  # fmt: skip


# -- what was trained, on what, for how long ---------------------------------------------------


def _asked(found: Sequence[Section]) -> list[Section]:
    """The sections whose recipe asked something: a search has dozens of arms and asks nothing."""
    return [section for section in found if section.group.question.pairs]


def sizes(found: Sequence[Section]) -> Table | None:
    """A sentence a section that asked something: its arms' parameters."""
    return _each(
        "sizes", "Parameters by arm, in millions; of a mixture of experts those that a token "
        "passes through in brackets.", _asked(found), _sizes,
        "parameters by arm, millions; active ones in brackets",
    )  # fmt: skip


def _sizes(section: Section) -> str:
    said = []
    for arm in section.group.question.arms:
        records = [r for r in section.group.records if r.arm == arm]
        counts = {(r.total_parameters, r.active_parameters) for r in records}
        for total, active in sorted(counts):
            of = "" if active == total else f" ({millions(active)} active)"
            said.append(f"{arm} {millions(total)}{of}")
    return ", ".join(said)


def texts(found: Sequence[Section]) -> Table | None:
    """A sentence a text: what the runs of which recipes were trained and scored on."""
    return _each(
        "texts", "What was trained on, and what each validation scores.", found, _text,
        "sources and their shares, tokens of one epoch, and what a validation scores",
    )  # fmt: skip


def _text(section: Section) -> str:
    data = scope.data(section.group.records)
    return f"{data}; scored on {scope.validation(section.group.records)}" if data else ""


def _each(
    name: str, caption: str, found: Sequence[Section], say: Callable[[Section], str], what: str
) -> Table | None:
    """A sentence for the sections of which the same is said."""
    same: dict[str, list[Section]] = {}
    for section in found:
        if said := say(section):
            same.setdefault(said, []).append(section)
    sentences = []
    for said, of in same.items():
        files = tuple(path_of(r) for section in of for r in section.group.records)
        names = "; ".join(dict.fromkeys(_where(section) for section in of))
        cell = Cell(f"{names}: {said}.", files, what, "the same in all runs", len(files))
        sentences.append((cell,))
    return listed(name, caption, sentences, ("answer",)) if sentences else None


def spent(records: Sequence[Record]) -> Table | None:
    """A sentence a kind of machine: runs and hours, failed runs' included."""
    by_kind: dict[str, list[Record]] = {}
    for record in records:
        by_kind.setdefault(kind(record), []).append(record)
    sentences = []
    for name, of_kind in sorted(by_kind.items()):
        hours = sum(r.timing.wall_seconds for r in of_kind if r.timing) / 3600
        files = tuple(path_of(r) for r in of_kind)
        said = f"{name}: {len(of_kind):,} runs, {hours:,.1f} hours of process time."
        cell = Cell(said, files, "runs, and hours from start to record", "sums", len(files))
        sentences.append((cell,))
    caption = "What all runs took, whatever their end. Runs may have shared a machine."
    return listed("spent", caption, sentences, ("answer",)) if sentences else None


# -- the figure --------------------------------------------------------------------------------


class ForestRow(Shown):
    """A paired difference, by its arm and reference (the title)."""

    section: str
    difference: float
    interval: tuple[float, float]
    detectable: float | None
    noise: float | None
    """Standard deviation of one arm over seeds, where a recipe measured it."""


class Forest(Shown):
    """All that the figure shows: the paired differences of which something may be said."""

    rows: tuple[ForestRow, ...]


def forest(found: Sequence[Section]) -> Figure | None:
    """The differences that were asked for; None where nothing may be said of any."""
    rows: list[ForestRow] = []
    files: list[str] = []
    for section in found:
        if "comparison" not in section.group.question.views:
            continue
        for one in differences(section):
            if one.primary and one.verdict and (interval := _interval(one)):
                files += one.records
                rows.append(
                    ForestRow(
                        title=f"{one.arm} − {one.against}",
                        section=f"{section.recipe}, {section.scale}, {section.device}",
                        difference=float(one.value.mean or 0.0),
                        interval=interval,
                        detectable=one.verdict.detectable,
                        noise=_noise(section),
                    )
                )
    if not rows:
        return None
    return Figure(
        name="findings.figure",
        data=Forest(title="Validation loss, arm less reference", rows=tuple(rows)),
        alt="Paired differences in validation loss with their intervals",
        caption=(
            "Points: paired differences, left of 0 the arm is better; lines: their intervals at "
            "the level of the verdict; grey bars: what as many pairs would have shown in 80 % of "
            "cases; dotted: the spread of one arm over seeds (the noise floor), not paired."
        ),
        records=tuple(dict.fromkeys(files)),
        command="smol card",
    )


def _noise(section: Section) -> float | None:
    if section.noise is None:
        return None
    question = section.noise.group.question
    ends = section.noise.group.reached(next(iter(question.arms), ""), question.at)
    return t_interval([end.val_loss for end in ends]).sd
