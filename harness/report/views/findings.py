"""What the card says in sentences, each a cell: findings, sizes, time spent, texts; and the forest.

The figures behind them stand in the tables of the recipes' pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.evidence import launches
from harness.evidence.differences import differences
from harness.evidence.machines import kind
from harness.evidence.sections import Section
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.compare import Comparison, of_section
from harness.report.draw import Figure, Shown, Themed
from harness.report.sentence import sentence
from harness.report.table import Cell, Column, Row, Table, millions
from harness.report.views import scope, throughput
from harness.report.views.answers import link
from harness.report.views.difference import judged
from harness.stats.inference import t_interval

Sentence = tuple[Cell, ...]


def listed(name: str, caption: str, sentences: Iterable[Sentence], columns: Sequence[str]) -> Table:
    """A view that is a numbered list: a row is a number, its cells are printed one after another.

    `columns` name the cells of a sentence.
    """
    rows = tuple(Row(str(n), cells) for n, cells in enumerate(sentences, 1))
    heads = tuple(map(Column, columns))
    return Table(name, caption, "", heads, rows, command="smol card", listed=True)


def findings(found: Sequence[Section]) -> Table | None:
    """A sentence a pair that a recipe asked for beforehand; None where none asked."""
    said = [s for section in found for s in _answers(section)]
    if not said:
        return None
    return listed(
        "findings",
        "Every question asked before its runs, and its answer. What cannot be compared "
        "has no number.",
        sorted(said, key=lambda cells: cells[0].interval is None),
        ("answer", "details"),
    )


def _answers(section: Section) -> Iterator[Sentence]:
    question = section.group.question
    if not {"comparison", "throughput"} & set(question.views):
        return
    for reference, arm in question.pairs:
        for one in of_section(section, reference, arm):
            if one.horizon in (None, question.at):
                files = _behind(section, reference, arm)
                text = f"`{section.recipe}`: {sentence(section, reference, arm, one)}"
                what = f"verdict on: {question.metric} of {arm} against {reference}"
                yield (
                    Cell(text, files, what, judged(section), one.pairs, _interval(one)),
                    _details(section, files),
                )


def _behind(section: Section, reference: str, arm: str) -> tuple[str, ...]:
    if section.group.question.metric == "tokens_per_second":
        return throughput.behind(section, launches.compared(section)[arm])
    of = (one for one in differences(section) if (one.against, one.arm) == (reference, arm))
    return next((one.records for one in of if one.primary), ())


def _interval(one: Comparison) -> tuple[float, float] | None:
    """At the level of its verdict; None where nothing may be said."""
    if not one.comparable or one.difference is None or one.half_width is None:
        return one.interval if one.comparable else None
    return one.difference - one.half_width, one.difference + one.half_width


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


def _place(section: Section) -> str:
    return f" at {section.scale} on {section.device}"


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
        places: dict[str, list[str]] = {}
        for section in of:
            places.setdefault(_place(section), []).append(f"`{section.recipe}`")
        names = "; ".join(f"{', '.join(dict.fromkeys(named))}{at}" for at, named in places.items())
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
    margin: float | None
    """Within which the two count as equivalent; None where it is not known."""
    noise: float | None
    """Standard deviation of one arm over seeds, where a recipe measured it."""


class Forest(Themed):
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
            interval = one.value.interval
            if one.primary and one.verdict and interval and one.verdict.kind != "not comparable":
                files += one.records
                rows.append(
                    ForestRow(
                        title=f"{one.arm} − {one.against}",
                        section=f"{section.recipe}, {section.scale}, {section.device}",
                        difference=float(one.value.mean or 0.0),
                        interval=interval,
                        detectable=one.verdict.detectable,
                        margin=one.margin.size if one.margin else None,
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
            "cases; green bars: the margin within which two count as equivalent; dotted: the "
            "spread of one arm over seeds (the noise floor), not paired."
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
