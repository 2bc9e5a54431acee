"""A column said once: its name, what it is, its values with their records, how they become one.

A `Measure` is a column's whole declaration, so that a cell's provenance follows from what it was
computed from. `how` is one of the named aggregations below; each takes the values, the files that
they come from and what they are, and gives the printed cell.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.table import ABSENT, NONE, Cell, Column, Row, Table, estimate, plain
from harness.stats.inference import Estimate, t_interval

R = TypeVar("R")
Files = str | Sequence[str]
Found = Iterable[tuple[Any, Files]]
"""Values, each with the file or files that it comes from, relative to the results folder."""
How = Callable[[Sequence[Any], tuple[str, ...], str], Cell]
"""Values, their files, and what they are -> the cell."""
Form = str | Callable[[Any], str]
"""How one value is printed: a format string, or a function of the value."""


@dataclass(frozen=True)
class Measure(Generic[R]):
    """One column of a table whose rows are of type R."""

    name: str
    """As a cell's address takes it."""
    what: str | Callable[[R], str]
    """What a value is, with its unit, as `smol trace` says it."""
    values: Callable[[R], Found]
    how: How
    unit: str = ""
    left: bool = False
    n: Callable[[R], int] | None = None
    """Independent values behind a cell, where that is not the number of its records."""

    @property
    def column(self) -> Column:
        """What the table's head shows."""
        return Column(self.name, self.unit, self.left)

    def cell(self, row: R) -> Cell:
        """The cell of a row."""
        found = list(self.values(row))
        files = tuple(file for _, some in found for file in _each_file(some))
        what = self.what if isinstance(self.what, str) else self.what(row)
        made = self.how([value for value, _ in found], files, what)
        if self.n is None:
            return made
        return Cell(
            made.text, made.records, made.metric, made.aggregation, self.n(row), made.interval
        )


@dataclass(frozen=True)
class Block(Generic[R]):
    """Rows that are measured in their own way; a column that they do not have reads "–"."""

    rows: Iterable[tuple[str, R]]
    measures: Sequence[Measure[R]]
    absent: str = ""
    """Why such a column does not apply, as `smol trace` says it."""


def given(
    name: str, cell: Callable[[R], Cell], unit: str = "", *, left: bool = False
) -> Measure[R]:
    """A column whose cells are made as a whole, or by another measure's `cell`."""
    return Measure(name, "", lambda row: [(cell(row), ())], lambda cells, *_: cells[0], unit, left)


def nothing(why: str, files: Sequence[str] = ()) -> Cell:
    """Where a column does not apply to a row, and why."""
    return Cell(ABSENT, tuple(files), why, "none", 0)


def tabulate(
    name: str,
    caption: str,
    corner: str,
    measures: Sequence[Measure[R]],
    rows: Iterable[tuple[str, R]],
    *blocks: Block[Any],
    notes: Sequence[str] = (),
    command: str | None = None,
) -> Table:
    """A table of one column a measure and one row a named value; further blocks of rows below."""
    made = [Row(name, tuple(measure.cell(row) for measure in measures)) for name, row in rows]
    for block in blocks:
        own = {measure.name: measure for measure in block.measures}
        made += [
            Row(
                title,
                tuple(
                    own[m.name].cell(row) if m.name in own else nothing(block.absent)
                    for m in measures
                ),
            )
            for title, row in block.rows
        ]
    columns = tuple(measure.column for measure in measures)
    return Table(name, caption, corner, columns, tuple(made), tuple(notes), command)


def of_records(records: Iterable[Record], value: Callable[[Record], Any]) -> Found:
    """What each record says, with its file; those that say None are left out."""
    return [(v, path_of(r)) for r in records if (v := value(r)) is not None]


def of_ends(ends: Iterable[Any], value: Callable[[Any], Any]) -> Found:
    """What each endpoint says, with its file; those that say None are left out."""
    return [(v, end.path) for end in ends if (v := value(end)) is not None]


# -- how values become one -------------------------------------------------------------------


def text(said: str, *, form: Form = "{}", none: str = NONE) -> How:
    """The first value as it is; the others, if any, are the same."""
    return lambda values, files, what: plain(
        _shown(form, values[0]) if values else none, files, what, said
    )


def same(said: str = "the same in all runs", *, form: Form = "{}", none: str = NONE) -> How:
    """The distinct values, ascending and words last: one, where all agree as they should."""

    def how(values: Sequence[Any], files: Sequence[str], what: str) -> Cell:
        distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
        return plain(", ".join(_shown(form, one) for one in distinct) or none, files, what, said)

    return how


def count(said: str = "count", *, form: Form = "{}") -> How:
    """How many values there are."""
    return lambda values, files, what: plain(_shown(form, len(values)), files, what, said)


def total(said: str, *, form: Form = "{}") -> How:
    """The sum of the values."""
    return lambda values, files, what: plain(_shown(form, sum(values)), files, what, said)


def highest(said: str, *, form: Form = "{}") -> How:
    """The largest value."""
    return lambda values, files, what: plain(
        _shown(form, max(values)) if values else NONE, files, what, said
    )


def mean(said: str, *, form: Form = "{}") -> How:
    """The mean, without an interval."""
    return lambda values, files, what: plain(
        _shown(form, statistics.fmean(values)) if values else NONE, files, what, said
    )


def ranged(said: str, *, form: Form = "{}", none: str = NONE) -> How:
    """`mean [lowest, highest]`; one value by itself."""

    def how(values: Sequence[Any], files: tuple[str, ...], what: str) -> Cell:
        if not values:
            return plain(none, files, what, said)
        shown = _shown(form, statistics.fmean(values))
        if len(values) > 1:
            shown += f" [{_shown(form, min(values))}, {_shown(form, max(values))}]"
        return plain(shown, files, what, said)

    return how


def interval(over: str, *, digits: int, signed: bool = False) -> How:
    """`mean ± half-width (n)` of the t interval of values that are independent in `over`."""
    return lambda values, files, what: estimate(
        t_interval(list(values)), files, what, over, digits=digits, signed=signed
    )


def estimated(over: str, *, digits: int, signed: bool = False) -> How:
    """The same, of an estimate that was made beforehand; none is "not measured"."""
    none: list[Estimate] = [t_interval([])]
    return lambda values, files, what: estimate(
        (list(values) or none)[0], files, what, over, digits=digits, signed=signed
    )


def spread(*, digits: int) -> How:
    """The sample standard deviation; "–" below two values."""

    def how(values: Sequence[Any], files: tuple[str, ...], what: str) -> Cell:
        sd = t_interval(list(values)).sd
        shown = ABSENT if sd is None else f"{sd:.{digits}f}"
        return plain(shown, files, what, "sample standard deviation")

    return how


def _shown(form: Form, value: Any) -> str:
    return form.format(value) if isinstance(form, str) else form(value)


def _each_file(files: Files) -> Sequence[str]:
    return (files,) if isinstance(files, str) else files
