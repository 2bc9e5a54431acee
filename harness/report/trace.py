"""From a cell of the card back to its records, configuration and command.

Answers from `cells.json` where a card was written, and reads only the records of the cell that was
asked for; without a card, from the records as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RequestError, nearest
from harness.records import evaluation, foreign, store
from harness.records.evaluation import Evaluation
from harness.records.foreign import ScriptRecord
from harness.records.schema import Record
from harness.referee import tracing
from harness.report import cells, inputs, own_code, pages
from harness.report.cells import Index, Traced
from harness.report.table import escape

WORDS = ("caption", "figure", "note-")
REPRODUCE = "  reproduce    "
"""What stands before a command."""
"""How the addresses begin, after the view, of what stands outside a table's cells."""


@dataclass(frozen=True)
class _File:
    """A file behind a cell: the lines that say what it is, and what it holds if it is read."""

    lines: list[str]
    content: Record | Evaluation | ScriptRecord | None


class Tracer:
    """The cells of one results folder, read once."""

    def __init__(self, results: Path) -> None:
        """Raises RequestError for a broken index, or without one a broken records folder."""
        self.results = results
        self._files: dict[str, _File] = {}
        self._index: Index = cells.load(results) or pages.build(inputs.read(results)).index

    def cells(self) -> dict[str, Traced]:
        """Every cell of the card by its address, in the card's order."""
        return self._index.cells

    def knows(self, cell_id: str) -> bool:
        """Whether the card has the view that a cell is named after."""
        return _parts(cell_id)[0] in self._index.views

    def facts(self, cell_id: str) -> dict[str, Any]:
        """Where a cell comes from, for programs: its entry in the index, how each arm differs from
        the recipe's base, and the commands that reproduce it."""
        view, address = self._locate(cell_id)
        cell = self._index.cells[address]
        files = [self._file(path) for path in cell.records]
        runs = [file.content for file in files if isinstance(file.content, Record)]
        return {
            "address": address,
            "results": str(self.results),
            **cell.model_dump(mode="json"),
            "diffs": _diffs(runs),
            "commands": self._commands(view, files),
        }

    def trace(self, cell_id: str) -> str:
        """Where a cell comes from; see the module's `trace`."""
        view, address = self._locate(cell_id)
        cell = self._index.cells[address]
        lines = [
            f"{address} = {cell.text}",
            f"  what         {cell.metric}",
            f"  aggregation  {cell.aggregation}",
            f"  n            {cell.n}",
        ]
        if cell.interval:
            lines.append(f"  interval     [{cell.interval[0]:.6f}, {cell.interval[1]:.6f}], 95 %")
        lines.append(f"  records      {len(cell.records) or 'none'}")
        files = [self._file(path) for path in cell.records]
        lines += [line for file in files for line in file.lines]
        runs = [file.content for file in files if isinstance(file.content, Record)]
        lines += self._stems(runs)
        for arm, diff in _diffs(runs).items():
            lines.append(f"  arm {arm}, against the recipe's base")
            lines += [f"    {path} = {escape(repr(value))}" for path, value in diff.items()] or [
                "    no difference"
            ]
        lines += own_code.told(runs)
        judged = [file.content for file in files if isinstance(file.content, ScriptRecord)]
        lines += [f"  {line}" for line in tracing.told(self.results, judged)]
        lines += [REPRODUCE + command for command in self._commands(view, files)]
        return "\n".join(lines)

    def _commands(self, view: str, files: Sequence[_File]) -> list[str]:
        """What reproduces a cell: the commands of its files, else that of its view."""
        commands = {
            file.content.command for file in files
            if file.content is not None and not isinstance(file.content, ScriptRecord)
        }  # fmt: skip
        if not commands and (command := self._index.views[view].command):
            commands.add(command)
        return sorted(commands)

    def _locate(self, cell_id: str) -> tuple[str, str]:
        """The view and the full address that are meant. A row's name may hold slashes."""
        if not self._index.cells:
            raise RequestError(
                f"no cell '{cell_id}': nothing has been measured in '{self.results}' yet"
            )
        parts = _parts(cell_id)
        name, views = parts[0], self._index.views
        if name not in views:
            raise RequestError(f"no view '{name}'{nearest(name, views)}")
        view = views[name]
        if len(parts) == 2 and parts[1].startswith(WORDS):
            address = "/".join(parts)
            if address in self._index.cells:
                return name, address
        if len(parts) < 3:
            words = [
                address.partition("/")[2]
                for address in self._index.cells
                if address.startswith(tuple(f"{name}/{word}" for word in WORDS))
            ]
            table = (
                f"the rows {', '.join(view.rows)}, the columns {', '.join(view.columns)}, "
                if view.rows
                else ""
            )
            raise RequestError(
                f"'{cell_id}' is not view/row/column; view '{name}' has {table}"
                f"and {', '.join(words)}"
            )
        headers = {header: column for column, header in view.columns.items()}
        headers |= {column: column for column in view.columns}
        for split in range(2, len(parts)):  # a unit in a heading may hold a slash, too
            row, column = "/".join(parts[1:split]), "/".join(parts[split:])
            if row in view.rows and column in headers:
                return name, f"{name}/{row}/{headers[column]}"
        row, column = "/".join(parts[1:-1]), parts[-1]
        if not any("/".join(parts[1:]).startswith(f"{known}/") for known in view.rows):
            raise RequestError(f"view '{name}' has no row '{row}'{nearest(row, view.rows)}")
        raise RequestError(f"view '{name}' has no column '{column}'{nearest(column, view.columns)}")

    def _file(self, path: str) -> _File:
        """A file behind a cell, read once."""
        if path not in self._files:
            self._files[path] = self._open(path)
        return self._files[path]

    def _open(self, path: str) -> _File:
        place = self.results / path
        if not place.is_file():
            return _File([f"    {path}  gone since the card was written"], None)
        sha256 = hashlib.sha256(place.read_bytes()).hexdigest()
        changed = sha256 != self._index.sources.get(path)
        line = f"    {path}  changed since the card was written" if changed else f"    {path}"
        if path.startswith(f"{store.FOLDER}/"):
            record = store.read(place, path)
            return _File([f"{line}  {record.status}  {record.name}"], record)
        if path.startswith(f"{evaluation.FOLDER}/"):
            one = evaluation.read(place, path)
            return _File([line, *_subject(one)], one)
        if path.startswith(f"{foreign.FOLDER}/"):
            run = foreign.read_record(self.results, path)
            again = "/again" if run.repeat else ""
            name = f"{run.name}/{run.arm}/{run.seed}{again}"
            return _File([f"{line}  {run.status}  {name}"], run)
        return _File([line], None)

    def _stems(self, runs: Sequence[Record]) -> Iterator[str]:
        """The runs that these started from, where they are not among them."""
        known = {record.key for record in runs}
        stems: dict[str, Record] = {}
        for record in runs:
            if record.parent in known or (stem := self._parent(record)) is None:
                continue
            stems[store.path_of(stem)] = stem
        if stems:
            yield "  started from"
        for path, stem in stems.items():
            yield f"    {path}  {stem.status}  {stem.name}"

    def _parent(self, record: Record) -> Record | None:
        """The attempt of a record's parent that it started from: the newest that ended well."""
        if record.parent is None:
            return None
        of_parent = (record.recipe, record.arm, record.parent)
        last = store.next_attempt(self.results, *of_parent)
        for attempt in range(last - 1, 0, -1):
            found = self._file(store.relative_path(*of_parent, attempt)).content
            if isinstance(found, Record) and found.status == "ok":
                return found
        return None


def _parts(cell_id: str) -> list[str]:
    return [part.strip() for part in cell_id.strip().strip("`").split("/")]


def _subject(one: Evaluation) -> list[str]:
    subject = one.subject
    lines = [f"      {subject.name} ({subject.digest[:16]})"]
    lines += [f"      {subject.detail}"] if subject.detail else []
    return [*lines, f"      text {one.text_digest[:16]}, tokenizer {one.tokenizer_digest[:16]}"]


def _diffs(runs: Sequence[Record]) -> dict[str, dict[str, object]]:
    """Arm -> its configuration's difference, in the recipe's order."""
    diffs = {record.arm: record.diff for record in runs}
    asked = runs[0].question.arms if runs else ()
    order = [arm for arm in asked if arm in diffs]
    return {arm: diffs[arm] for arm in [*order, *(a for a in diffs if a not in order)]}


def trace(results: Path, cell_id: str) -> str:
    """Where a cell comes from: value, aggregation, records, configuration, command.

    `cell_id` is `view/row/column` as the card prints them; the unit behind a column's name may
    stand or not. Raises RequestError naming the part that is not there and the nearest one.
    """
    return Tracer(results).trace(cell_id)
