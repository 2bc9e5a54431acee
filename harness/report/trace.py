"""From a cell of the card back to its records, configuration and command. May not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import RequestError, nearest
from harness.records import evaluation, store
from harness.records.schema import Record
from harness.report import references, views
from harness.report.frame import Section, sections
from harness.report.tables import Cell, Table


class Tracer:
    """The cells of one results folder, read once. `trace` asks it a single question."""

    def __init__(self, results: Path) -> None:
        """Raises RequestError for a broken records folder."""
        records = store.read_all(results)
        self.results = results
        self._records = {store.path_of(record): record for record in records}
        self._tables: dict[str, tuple[Section | None, Table]] = {
            table.name: (section, table)
            for section in sections(records)
            for table in views.tables(section)
        }
        scored = evaluation.read_all(results)
        self._evaluations = {evaluation.path_of(one): one for one in scored}
        self._tables |= {table.name: (None, table) for table in references.tables(scored)}

    def cells(self) -> dict[str, Cell]:
        """Every cell of the card by its address `view/row/column`, in the card's order."""
        return {
            address: cell
            for _, table in self._tables.values()
            for address, cell in table.cells().items()
        }

    def trace(self, cell_id: str) -> str:
        """Where a cell comes from; see the module's `trace`."""
        if not self._tables:
            raise RequestError(
                f"no cell '{cell_id}': nothing has been measured in '{self.results}' yet"
            )
        section, table, row, column = self._locate(cell_id)
        address = f"{table.name}/{row}/{column}"
        cell = table.cells()[address]
        if section is None:
            return references.answer(address, cell, self._evaluations)
        used = [self._records[path] for path in dict.fromkeys(cell.records)]
        return _answer(section, table, address, cell, used)

    def _locate(self, cell_id: str) -> tuple[Section | None, Table, str, str]:
        """The table, row and column that an address names. A row's name may hold slashes."""
        parts = [part.strip() for part in cell_id.strip().strip("`").split("/")]
        if parts[0] not in self._tables:
            raise RequestError(f"no view '{parts[0]}'{nearest(parts[0], self._tables)}")
        section, table = self._tables[parts[0]]
        rows = [row.name for row in table.rows]
        columns = [column.name for column in table.columns]
        if len(parts) < 3:
            raise RequestError(
                f"'{cell_id}' is not view/row/column; view '{table.name}' has the rows "
                f"{', '.join(rows)} and the columns {', '.join(columns)}"
            )
        headers = {c.header: c.name for c in table.columns} | {name: name for name in columns}
        for split in range(2, len(parts)):  # a unit in a heading may hold a slash, too
            row, column = "/".join(parts[1:split]), "/".join(parts[split:])
            if row in rows and column in headers:
                return section, table, row, headers[column]
        row, column = "/".join(parts[1:-1]), parts[-1]
        if not any("/".join(parts[1:]).startswith(f"{known}/") for known in rows):
            raise RequestError(f"view '{table.name}' has no row '{row}'{nearest(row, rows)}")
        raise RequestError(
            f"view '{table.name}' has no column '{column}'{nearest(column, columns)}"
        )


def all_cells(results: Path) -> dict[str, Cell]:
    """Every cell of the card by its address `view/row/column`, in the card's order."""
    return Tracer(results).cells()


def trace(results: Path, cell_id: str) -> str:
    """Where a cell comes from: value, aggregation, records, configuration, command.

    `cell_id` is `view/row/column` as the card prints them; the unit behind a column's name may
    stand or not. Raises RequestError naming the part that is not there and the nearest one.
    """
    return Tracer(results).trace(cell_id)


def _answer(section: Section, table: Table, address: str, cell: Cell, used: list[Record]) -> str:
    lines = [
        f"{address} = {cell.text}",
        f"  what         {cell.metric}",
        f"  aggregation  {cell.aggregation}",
        f"  n            {cell.n}",
    ]
    if cell.interval:
        lines.append(f"  interval     [{cell.interval[0]:.6f}, {cell.interval[1]:.6f}], 95 %")
    lines.append(f"  records      {len(used) or 'none'}")
    lines += [f"    {store.path_of(r)}  {r.status}  {r.name}" for r in used]
    known = {(r.recipe, r.arm, r.key): r for r in section.group.records}
    parents = [known.get((r.recipe, r.arm, r.parent or "")) for r in used]
    stems = {store.path_of(p): p for p in parents if p is not None and p not in used}
    if stems:
        lines.append("  started from")
        lines += [f"    {path}  {stem.status}  {stem.name}" for path, stem in stems.items()]
    for arm, diff in _diffs(section, used).items():
        lines.append(f"  arm {arm}, against the recipe's base")
        lines += [f"    {path} = {value!r}" for path, value in diff.items()] or [
            "    no difference"
        ]
    commands = {r.command for r in used} or {table.command or section.group.command}
    lines += [f"  reproduce    {command}" for command in sorted(commands)]
    return "\n".join(lines)


def _diffs(section: Section, used: list[Record]) -> Mapping[str, dict[str, object]]:
    """Arm -> its configuration's difference, in the recipe's order."""
    diffs = {record.arm: record.diff for record in used}
    order = [arm for arm in section.group.question.arms if arm in diffs]
    return {arm: diffs[arm] for arm in [*order, *(a for a in diffs if a not in order)]}
