"""A local .txt, .jsonl or .parquet file row by row: the wanted column, as its writer meant it.

Nothing is guessed: JSON's texts stay texts, whatever they look like, and a column that `datasets`
stored in a form of its own (JSON as encoded text) is read through its decoding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RequestError, nearest

ENDINGS = (".txt", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Row:
    """One value of the column."""

    where: str
    """`line 3`, `row 3`; empty for a file that is one row."""
    value: Any


@dataclass(frozen=True)
class Absent:
    """The value of a row that does not have the column."""

    column: str
    others: tuple[str, ...]

    def __str__(self) -> str:
        return f"no column '{self.column}'{nearest(self.column, self.others)}"


def is_readable(path: Path) -> bool:
    """By its ending, in whichever case."""
    return path.suffix.lower() in ENDINGS


def either() -> str:
    """The endings, for messages."""
    return f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"


def read(path: Path, column: str) -> Iterator[Row]:
    """Row by row. Raises RequestError that names the file, and the line where there is one."""
    readers = {".txt": _txt, ".jsonl": _jsonl, ".parquet": _parquet}
    try:
        yield from readers[path.suffix.lower()](path, column)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror or error}") from None


def _txt(path: Path, column: str) -> Iterator[Row]:
    yield Row("", _decode(path, path.read_bytes(), ""))


def _jsonl(path: Path, column: str) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"line {number}"
            text = _decode(path, line, f"{where}: ")
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise RequestError(f"{path}: {where}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise RequestError(f"{path}: {where}: not an object but {type(row).__name__}")
            yield Row(where, row[column] if column in row else Absent(column, tuple(row)))


def _parquet(path: Path, column: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            if column not in schema.names:
                raise RequestError(f"{path}: {Absent(column, tuple(schema.names))}")
            number, decode = 0, decoder(schema, column)
            for batch in file.iter_batches(columns=[column]):
                for value in decode(batch.column(column).to_pylist()):
                    number += 1
                    yield Row(f"row {number}", value)
    except pa.ArrowException as error:
        why = str(error).splitlines()[0]
        raise RequestError(f"{path}: not a readable parquet file ({why})") from None


def decoder(schema: Any, column: str) -> Callable[[list[Any]], list[Any]]:
    """What turns a column's stored values into those that `datasets` hands out for an Arrow schema:
    a feature such as its `Json` is text in a file, and something else to its reader."""
    import pyarrow as pa
    from datasets import Features

    try:
        one = Features.from_arrow_schema(pa.schema([schema.field(column)], schema.metadata))
    except (ValueError, KeyError, TypeError):  # a type that `datasets` has no feature for
        return lambda values: values
    return lambda values: list(one.decode_batch({column: values})[column])


def _decode(path: Path, data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: {where}not UTF-8 (byte {error.start + 1})") from None
