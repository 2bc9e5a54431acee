"""From a cell of the card back to its records, configuration and command. May not import torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.errors import RequestError, nearest
from harness.records import store
from harness.records.schema import Record
from harness.report import views
from harness.report.frame import Section, sections
from harness.report.tables import Cell, Table


def all_cells(results: Path) -> dict[str, Cell]:
    """Every cell of the card by its address `view/row/column`, in the card's order."""
    return {
        address: cell
        for section in sections(store.read_all(results))
        for table in views.tables(section)
        for address, cell in table.cells().items()
    }


def trace(results: Path, cell_id: str) -> str:
    """Where a cell comes from: value, aggregation, records, configuration, command.

    `cell_id` is `view/row/column` as the card prints them; the unit behind a column's name may
    stand or not. Raises RequestError naming the part that is not there and the nearest one.
    """
    records = store.read_all(results)
    if not records:
        raise RequestError(f"no cell '{cell_id}': nothing has been measured in '{results}' yet")
    found = [(s, table) for s in sections(records) for table in views.tables(s)]
    section, table, row, column = _locate(found, cell_id)
    cell = table.cells()[f"{table.name}/{row}/{column}"]
    return _answer(section, table, f"{table.name}/{row}/{column}", cell, records)


def _locate(
    found: Iterable[tuple[Section, Table]], cell_id: str
) -> tuple[Section, Table, str, str]:
    """The table, row and column that an address names. A row's name may hold slashes."""
    parts = [part.strip() for part in cell_id.strip().strip("`").split("/")]
    by_name = {table.name: (section, table) for section, table in found}
    if parts[0] not in by_name:
        raise RequestError(f"no view '{parts[0]}'{nearest(parts[0], by_name)}")
    section, table = by_name[parts[0]]
    if len(parts) < 3:
        raise RequestError(
            f"'{cell_id}' is not view/row/column; view '{table.name}' has the rows "
            f"{', '.join(row.name for row in table.rows)} and the columns "
            f"{', '.join(column.name for column in table.columns)}"
        )
    rows = {row.name for row in table.rows}
    headers = {c.header: c.name for c in table.columns} | {c.name: c.name for c in table.columns}
    for split in range(2, len(parts)):  # a unit in a heading may hold a slash, too
        row, column = "/".join(parts[1:split]), "/".join(parts[split:])
        if row in rows and column in headers:
            return section, table, row, headers[column]
    row, column = "/".join(parts[1:-1]), parts[-1]
    known_rows = [r for r in rows if cell_id.strip().startswith(f"{table.name}/{r}/")]
    if row not in rows and not known_rows:
        raise RequestError(f"view '{table.name}' has no row '{row}'{nearest(row, rows)}")
    columns = [c.name for c in table.columns]
    raise RequestError(f"view '{table.name}' has no column '{column}'{nearest(column, columns)}")


def _answer(section: Section, table: Table, address: str, cell: Cell, records: list[Record]) -> str:
    by_path = {store.path_of(record): record for record in records}
    used = [by_path[path] for path in dict.fromkeys(cell.records)]
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
