"""Cells, tables, and how they look as markdown. Knows nothing of what the numbers mean.

Every cell carries where it came from; the text that is printed is made here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.stats.inference import LEVEL, Estimate, Verdict

NONE = "not measured"
ABSENT = "–"
"""Printed where a column does not apply to a row."""
WIDE = 110
"""Characters that a page shows beside each other; a wider table is printed in several."""
WRAPPED = 30
"""Characters beyond which a column's words wrap."""
BOLD = 1.15
"""How much wider the characters of a heading are."""


_LINK = re.compile(r"\]\((?!(?:(?:cards/)?[A-Za-z0-9][A-Za-z0-9._+=@,-]*\.md)?#)")
"""But to a heading of the card itself or of a page of it."""
_ADDRESS = re.compile(r"\]\((?=\w+:)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


@dataclass(frozen=True)
class Cell:
    """One printed value and its provenance."""

    text: str
    records: tuple[str, ...]
    """Files of the records it was computed from, relative to the results folder."""
    metric: str
    """What it is, and its unit."""
    aggregation: str
    """How the records' values became one."""
    n: int
    """Independent values (seeds, pairs or runs) behind it."""
    interval: tuple[float, float] | None = None
    """Its interval, where there is one; `aggregation` names the level."""


@dataclass(frozen=True)
class Column:
    """A column's name, as a cell's address takes it, and its unit."""

    name: str
    unit: str = ""
    left: bool = False

    @property
    def header(self) -> str:
        """As printed: the name, then the unit in brackets."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Row:
    """A row's name, as a cell's address takes it, and one cell a column."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A named view, of one row at least: `name/row/column` is the address of a cell."""

    name: str
    caption: str
    corner: str
    """Header of the column of row names."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    command: str | None = None
    """What reproduces the table."""
    listed: bool = False
    """Printed as a numbered list: the rows' names are its numbers."""

    def __post_init__(self) -> None:
        """Refuse ragged rows and addresses that two cells would share."""
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"{self.name}/{row.name}: {len(row.cells)} cells")
        for names in ([r.name for r in self.rows], [c.name for c in self.columns]):
            if len(set(names)) != len(names):
                raise ValueError(f"{self.name}: a name stands twice in {names}")

    def cells(self) -> dict[str, Cell]:
        """Address -> cell, row by row."""
        return {
            f"{self.name}/{row.name}/{column.name}": cell
            for row in self.rows
            for column, cell in zip(self.columns, row.cells, strict=True)
        }

    def words(self) -> dict[str, Cell]:
        """Address -> caption and notes, as cells of all the records behind the table."""
        records = tuple(dict.fromkeys(p for r in self.rows for c in r.cells for p in c.records))
        origin = "the view's records" if records else self.rows[0].cells[0].aggregation
        texts = {"caption": self.caption}
        texts |= {f"note-{number}": note for number, note in enumerate(self.notes, 1)}
        return {
            f"{self.name}/{what}": Cell(
                text, records, f"{what} of the view", f"worded from {origin}", len(records)
            )
            for what, text in texts.items()
        }


def markdown(table: Table) -> str:
    """The fenced block of a view: caption, numbered list or pipe tables, notes, command."""
    parts = [f"**`{table.name}`** {escape(table.caption)}"]
    if table.listed:
        lines = [f"{r.name}. " + " ".join(escape(c.text) for c in r.cells) for r in table.rows]
        parts.append("\n".join(lines))
    else:
        parts += [_pipes(table, places) for places in _narrow(table)]
    if table.notes:
        parts.append("\n".join(f"- {escape(note)}" for note in table.notes))
    if table.command and not table.listed:
        parts.append(f"Reproduce: `{one_line(table.command)}`")
    return fence(table.name, "\n\n".join(parts))


def _narrow(table: Table) -> list[list[int]]:
    """The columns, in as many tables as they need to be no wider than `WIDE`, the rows' names in
    each. Words wrap within a column, so that no column asks for more than `WRAPPED`, or for its
    longest word, which no page breaks."""

    def asks(header: str, texts: Iterable[str]) -> float:
        lines = [(header, BOLD), *((text, 1.0) for text in texts)]
        word = max(len(word) * size for text, size in lines for word in ["", *text.split()])
        return max(word, min(WRAPPED, max(len(escape(text)) for text, _ in lines))) + 3

    first = asks(table.corner, (row.name for row in table.rows))
    groups: list[list[int]] = [[]]
    used = first
    for place, column in enumerate(table.columns):
        width = asks(column.header, (row.cells[place].text for row in table.rows))
        if groups[-1] and used + width > WIDE:
            groups.append([])
            used = first
        groups[-1].append(place)
        used += width
    return groups


def _pipes(table: Table, places: Sequence[int]) -> str:
    """An aligned pipe table of some of the columns."""
    columns = [table.columns[place] for place in places]
    header = [table.corner, *(column.header for column in columns)]
    left = [True, *(column.left for column in columns)]
    body = [[row.name, *(row.cells[place].text for place in places)] for row in table.rows]
    lines = [[escape(text) for text in line] for line in (header, *body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rule = [
        "-" * w if is_left else "-" * (w - 1) + ":" for w, is_left in zip(widths, left, strict=True)
    ]
    printed = [
        "| " + " | ".join(
            text.ljust(w) if is_left else text.rjust(w)
            for text, w, is_left in zip(line, widths, left, strict=True)
        ) + " |"
        for line in (lines[0], rule, *lines[1:])
    ]  # fmt: skip
    return "\n".join(printed)


def fence(name: str, content: str) -> str:
    """A block that the card regenerates as a whole."""
    return f"<!-- view: {name} begin -->\n{content}\n<!-- view: {name} end -->"


def escape(text: str) -> str:
    """Text that can break neither a pipe table nor a fence, and that is no markup: no tag, link,
    image or open code span, whoever wrote it."""
    line = _LINK.sub(r"]\\(", no_markup(one_line(text))).replace("|", "\\|")
    return line if line.count("`") % 2 == 0 else line.replace("`", "\\`")


def no_markup(text: str) -> str:
    """Text without a tag or a link to elsewhere, and as it was but for these: code, for one."""
    return _ADDRESS.sub(r"]\\(", _TAG.sub("&lt;", text))


def one_line(text: str) -> str:
    """White space, line ends included, as single spaces."""
    return " ".join(text.split())


def estimate(
    value: Estimate,
    records: Sequence[str],
    metric: str,
    over: str,
    *,
    digits: int,
    signed: bool = False,
) -> Cell:
    """`mean ± half (n)`; without the half-width from one value; "not measured" from none.

    `over` names what the values are independent in: "seeds".
    """
    if value.mean is None:
        return Cell(NONE, tuple(records), metric, f"mean over {over}", 0)
    text = f"{value.mean:{'+' if signed else ''}.{digits}f}"
    if value.half is None:
        return Cell(f"{text} ({value.n})", tuple(records), metric, f"single value of {over}", 1)
    return Cell(
        f"{text} ± {value.half:.{digits}f} ({value.n})",
        tuple(records),
        metric,
        f"mean over {over} ± half-width of the {100 * value.level:g} % t interval, {value.df} "
        "degrees of freedom",
        value.n,
        value.interval,
    )


def plain(text: str, records: Sequence[str], metric: str, aggregation: str, n: int = 0) -> Cell:
    """A cell without an interval; `n` is the number of records unless said otherwise."""
    return Cell(text, tuple(records), metric, aggregation, n or len(records))


def levels_note(verdicts: Mapping[str, Verdict | None]) -> str:
    """At which level each interval and its verdict stand: those of a question of several pairs
    are one family, tested by Holm's procedure."""
    levels = {name: one.level for name, one in verdicts.items() if one is not None}
    others = [f"{name} {100 * level:.3g} %" for name, level in levels.items() if level != LEVEL]
    if not others:
        return f"Intervals of ratios, differences and verdicts are at {100 * LEVEL:g} %."
    return (
        "An interval is at the level at which its verdict was reached, Holm's for the question's "
        f"pairs together: {', '.join(others)}; all others {100 * LEVEL:g} %."
    )


def millions(count: int) -> str:
    """A count of parameters, in millions."""
    return f"{count / 1e6:.2f}"


def quantity(value: float) -> str:
    """Three significant digits with a suffix: 1.31M, 123k, 98.3M, 12."""
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
