"""`cells.json`, beside the card: where every number of every view comes from.

A cell's address is `view/row/column`; a caption, a note and a figure are cells too (`view/caption`,
`view/note-1`, `view/figure`). Each has its text, metric, aggregation, n, interval and the files
that it was computed from. The digests of all files stand here as well, so that an edit of a record
is seen even where no view shows the field.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from harness.config import Frozen, digest
from harness.errors import RequestError, explain
from harness.files import read_regular
from harness.records.untrusted import MAX_JSON_BYTES, json_without_controls
from harness.report.draw import Figure
from harness.report.table import Cell, Table, escape

FILE = "cells.json"
_SEAL = ' "seal": "'
"""How the file begins: the SHA-256 of all that follows it."""
FEW = 4
"""Records that a cell names itself."""


class Traced(Frozen):
    """One cell, as `table.Cell` has it."""

    text: str
    """As the card prints it: on one line, what would break a table escaped."""
    metric: str
    aggregation: str
    n: int
    interval: tuple[float, float] | None = None
    records: tuple[str, ...] = ()


class View(Frozen):
    """What an address needs of a view, and what reproduces it."""

    rows: tuple[str, ...] = ()
    columns: dict[str, str] = Field(default_factory=dict)
    """Name -> heading as printed, unit included."""
    command: str | None = None


class Index(Frozen):
    """The whole file."""

    schema_version: Literal[1]
    sources: dict[str, str]
    """File, relative to the results folder -> SHA-256 of the bytes that the card was made from."""
    views: dict[str, View]
    cells: dict[str, Traced]


class _Written(Index):
    """As it stands on disk."""

    sets: dict[str, tuple[str, ...]]
    cells: dict[str, _WrittenCell]  # type: ignore[assignment]


class _WrittenCell(Traced):
    records: str | tuple[str, ...] = ()  # type: ignore[assignment]
    """The name of a set, or the files."""


def _resolved(cell: _WrittenCell, written: _Written) -> Traced:
    """The cell with its set of records spelled out. Raises KeyError for a set that is not there."""
    records = written.sets[cell.records] if isinstance(cell.records, str) else cell.records
    return Traced.model_construct(**(vars(cell) | {"records": records}))


def of(views: Iterable[Table | Figure], sources: Mapping[str, str]) -> Index:
    """The index of a card's views, in the card's order."""
    seen: dict[str, View] = {}
    cells: dict[str, Traced] = {}
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for view in views:
        if isinstance(view, Table):
            seen[view.name] = View(
                rows=tuple(row.name for row in view.rows),
                columns={column.name: column.header for column in view.columns},
                command=view.command,
            )
            found = {**view.cells(), **view.words()}
        else:
            seen[view.name] = View(command=view.command)
            found = view.cells()
        for address, cell in found.items():
            records = tuple(dict.fromkeys(cell.records))
            cells[address] = _entry(cell, shared.setdefault(records, records))
    ordered = dict(sorted(sources.items()))
    return Index(schema_version=1, sources=ordered, views=seen, cells=cells)


def _entry(cell: Cell, records: tuple[str, ...]) -> Traced:
    return Traced.model_construct(
        text=escape(cell.text),
        metric=cell.metric,
        aggregation=cell.aggregation,
        n=cell.n,
        interval=cell.interval,
        records=records,
    )


def to_json(index: Index) -> str:
    """The file's text: a source, a view or a cell a line, so that a change shows as one.

    More than `FEW` records that stand behind a cell are named once, as a set.
    """
    names = {
        records: digest(records, 8)
        for records in dict.fromkeys(cell.records for cell in index.cells.values())
        if len(records) > FEW
    }
    cells = {
        address: _fields(cell) | ({"records": name} if (name := names.get(cell.records)) else {})
        for address, cell in index.cells.items()
    }
    blocks = [
        f' "schema_version": {index.schema_version}',
        _block("sources", index.sources),
        _block("views", {name: _fields(view) for name, view in index.views.items()}),
        _block("sets", {name: records for records, name in names.items()}),
        _block("cells", cells),
    ]
    content = ",\n".join(blocks) + "\n}\n"
    return f'{{\n{_SEAL}{hashlib.sha256(content.encode()).hexdigest()}",\n{content}'


def _unsealed(text: bytes) -> bytes | None:
    """The file's text without its seal; None where it was changed after it was written."""
    seal, _, content = text.partition(b'",\n')
    expected = f"{{\n{_SEAL}{hashlib.sha256(content).hexdigest()}".encode()
    return b"{\n" + content if seal == expected else None


def _fields(one: Frozen) -> dict[str, Any]:
    return {name: value for name, value in vars(one).items() if value not in (None, (), {})}


def _block(name: str, content: Mapping[str, Any]) -> str:
    lines = [
        f"  {json.dumps(key, ensure_ascii=False)}: "
        + json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        for key, value in content.items()
    ]
    return f' "{name}": {{\n' + ",\n".join(lines) + "\n }"


def _digest_of(path: Path) -> str | None:
    """None of what cannot be read, and of what is larger than any of ours."""
    try:
        return hashlib.sha256(read_regular(path, MAX_JSON_BYTES)).hexdigest()
    except OSError:
        return None


def changed(results: Path, index: Index) -> list[str]:
    """What has become of the files that a card was made from, one line each; new ones are fine."""
    found = []
    for name, sha256 in index.sources.items():
        path = results / name
        if not path.is_file():
            found.append(f"{name} is gone since the card was written")
        elif _digest_of(path) != sha256:
            found.append(f"{name} has changed since the card was written")
    return found


def refuse_edited(results: Path) -> None:
    """Raises RequestError where a record is not what it was when the card was written: nobody edits
    records, so that its numbers, and what is decided by them, are nobody's measurement.

    One that was lost and measured again since then has its own time in it, and is fine.
    """
    try:
        index = load(results)
    except RequestError:  # a card that is written anew has another
        return
    if index is None:
        return
    written = (results / FILE).stat().st_mtime
    kinds = ("records/", "scripts/")
    records = {
        n: d for n, d in index.sources.items()
        if n.startswith(kinds) and not n.endswith("/question.json")  # that one is written anew
    }  # fmt: skip
    for name, sha256 in records.items():
        path = results / name
        if not path.is_file():
            continue
        content = read_regular(path, MAX_JSON_BYTES)
        if hashlib.sha256(content).hexdigest() != sha256 and not _made_since(content, written):
            raise RequestError(
                f"{results / name} has changed since the card was written, and records are never "
                f"edited: bring it back, or remove it and {FILE}"
            )


def _made_since(content: bytes, written: float) -> bool:
    """Whether a record says that it was made after that time, in seconds of the epoch."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return datetime.fromisoformat(json.loads(content)["created"]).timestamp() > written
    return False


def load(results: Path) -> Index | None:
    """The index on disk; None where no card was written yet.

    Raises RequestError for a file that is not one.
    """
    path = results / FILE
    if not path.exists():
        return None
    mend = "`smol card` writes it again"
    try:
        content = _unsealed(read_regular(path, MAX_JSON_BYTES))
        if content is None:
            raise RequestError(f"{FILE} is not an index as it was written; {mend}")
        written = _Written.model_validate_json(json_without_controls(content))
        return Index(
            schema_version=1,
            sources=written.sources,
            views=written.views,
            cells={address: _resolved(cell, written) for address, cell in written.cells.items()},
        )
    except KeyError as error:
        raise RequestError(f"{FILE} has no set of records {error}; {mend}") from None
    except OSError as error:
        raise RequestError(f"{FILE} cannot be read: {error.strerror}; {mend}") from None
    except ValidationError as error:
        raise RequestError(f"{FILE} is not an index of cells: {explain(error)}; {mend}") from None
