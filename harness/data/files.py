"""Local .txt, .jsonl and .parquet files as documents: one a text file, one a row.

A document's unit is the digest of its text, so equal documents stand on the same side of the
split, and moving or renaming files changes nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.config import Source
from harness.data import rows
from harness.data.left_out import text_fault
from harness.data.units import Unit
from harness.errors import RequestError


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

    Raises RequestError naming the file, and the row where there is one: a specification's sources
    have no place for a list of what was left out.
    """
    units = []
    for path in listing(source):
        try:
            for row in rows.read(path, source.text_column):
                text, where = row.value, f"{row.where}: " if row.where else ""
                if isinstance(text, rows.Absent):
                    raise RequestError(f"{path}: {where}{text}")
                if fault := text_fault(text):
                    raise RequestError(f"{path}: {where}'{source.text_column}' is {fault}")
                if text is not None and text.strip():
                    units.append(Unit(hashlib.sha256(text.encode()).hexdigest(), text))
        except RequestError as error:
            raise RequestError(f"source '{source.name}': {error}") from None
    return units


def listing(source: Source) -> list[Path]:
    """The files, folders resolved, each folder's in sorted order. Raises RequestError."""
    if not source.paths:
        raise RequestError(f"source '{source.name}' reads files, but its paths are empty")
    files: list[Path] = []
    for given in source.paths:
        path = Path(given).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if rows.is_readable(p) and p.is_file())
            if not inside:
                raise RequestError(
                    f"source '{source.name}': folder '{given}' holds no {rows.either()} file"
                )
            files += inside
        elif not path.exists():
            raise RequestError(f"source '{source.name}': no file or folder '{given}'")
        elif not rows.is_readable(path):
            raise RequestError(
                f"source '{source.name}': '{given}' must end in {rows.either()}, "
                f"not {path.suffix or 'nothing'!r}"
            )
        else:
            files.append(path)
    return files


def _of(source: Source, path: Path, what: str) -> str:
    return f"source '{source.name}': {path}: {what}"
