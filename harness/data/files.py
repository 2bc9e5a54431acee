"""Local .txt, .jsonl and .parquet files as documents: one a text file, one a row.

A document's unit is the digest of its text, so equal documents stand on the same side of the
split, and moving or renaming files changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.config import Source
from harness.data.units import Unit
from harness.errors import RequestError, nearest

ENDINGS = (".txt", ".jsonl", ".parquet")


def fingerprint(source: Source) -> str:
    """Changes when the files' content, number or order does. Raises RequestError."""
    whole = hashlib.sha256()
    for path in listing(source):
        try:
            with path.open("rb") as file:
                one = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{path.suffix} {path.stat().st_size} {one}\n".encode())
        except OSError as error:
            raise RequestError(_of(source, path, f"cannot be read: {error.strerror}")) from None
    return whole.hexdigest()


def read(source: Source) -> list[Unit]:
    """The documents, in the order of paths, files and rows; empty ones are left out.

    Raises RequestError naming the file, and the row where there is one.
    """
    readers = {".txt": _txt, ".jsonl": _jsonl, ".parquet": _parquet}
    units = []
    for path in listing(source):
        try:
            for where, text in readers[path.suffix](source, path):
                if not isinstance(text, str):
                    kind = type(text).__name__
                    raise RequestError(
                        _of(source, path, f"{where}'{source.text_column}' is no text but {kind}")
                    )
                if not text.strip():
                    continue
                try:
                    name = hashlib.sha256(text.encode()).hexdigest()
                except UnicodeEncodeError:
                    raise RequestError(
                        _of(source, path, f"{where}holds half of a surrogate pair")
                    ) from None
                units.append(Unit(name, text))
        except OSError as error:
            raise RequestError(_of(source, path, f"cannot be read: {error.strerror}")) from None
    return units


def listing(source: Source) -> list[Path]:
    """The files, folders resolved, each folder's in sorted order. Raises RequestError."""
    if not source.paths:
        raise RequestError(f"source '{source.name}' reads files, but its paths are empty")
    files: list[Path] = []
    for given in source.paths:
        path = Path(given).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in ENDINGS and p.is_file())
            if not inside:
                raise RequestError(
                    f"source '{source.name}': folder '{given}' holds no {_either()} file"
                )
            files += inside
        elif not path.exists():
            raise RequestError(f"source '{source.name}': no file or folder '{given}'")
        elif path.suffix not in ENDINGS:
            raise RequestError(
                f"source '{source.name}': '{given}' must end in {_either()}, "
                f"not {path.suffix or 'nothing'!r}"
            )
        else:
            files.append(path)
    return files


def _txt(source: Source, path: Path) -> Iterator[tuple[str, Any]]:
    yield "", _decode(source, path, path.read_bytes(), "")


def _jsonl(source: Source, path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"line {number}: "
            text = _decode(source, path, line, where)
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise RequestError(_of(source, path, f"{where}not JSON ({error})")) from None
            if not isinstance(row, dict):
                raise RequestError(
                    _of(source, path, f"{where}not an object but {type(row).__name__}")
                )
            if source.text_column not in row:
                raise RequestError(_no_column(source, path, where, list(row)))
            yield where, row[source.text_column]


def _parquet(source: Source, path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if source.text_column not in columns:
                raise RequestError(_no_column(source, path, "", columns))
            row = 0
            for batch in file.iter_batches(columns=[source.text_column]):
                for text in batch.column(0).to_pylist():
                    row += 1
                    yield f"row {row}: ", "" if text is None else text
    except pa.ArrowException as error:
        why = str(error).splitlines()[0]
        raise RequestError(_of(source, path, f"not a readable parquet file ({why})")) from None


def _decode(source: Source, path: Path, data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(
            _of(source, path, f"{where}not UTF-8 (byte {error.start + 1})")
        ) from None


def _no_column(source: Source, path: Path, where: str, columns: list[str]) -> str:
    column = source.text_column
    return _of(source, path, f"{where}no column '{column}'{nearest(column, columns)}")


def _of(source: Source, path: Path, what: str) -> str:
    return f"source '{source.name}': {path}: {what}"


def _either() -> str:
    return f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
