"""Where records live: written once, at `<results>/records/<recipe>/<arm>/<key>.<attempt>.json`.

The only place that writes records. Each is validated on the way in and on the way out; a file that
is not a record is named, never skipped.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from harness.config import Frozen
from harness.errors import RequestError, explain
from harness.files import read_regular, write_atomically
from harness.records import configuration, gates
from harness.records.migrations import to_current
from harness.records.schema import Record
from harness.records.untrusted import json_without_controls

FOLDER = "records"
MAX_BYTES = 4_000_000
"""The most that a record's file may have. With all that it may hold one stays well below half a
megabyte; reading what is far larger could take all memory."""
_FILE_NAME = re.compile(r"(?P<key>.+)\.(?P<attempt>[0-9]+)\.json")


def relative_path(recipe: str, arm: str, key: str, attempt: int) -> str:
    """A record's file, relative to the results folder, with forward slashes. The schema's names
    are such that every file system takes them, and that none leads elsewhere."""
    return f"{FOLDER}/{recipe}/{arm}/{key}.{attempt}.json"


def path_of(record: Record) -> str:
    """`relative_path` of a record: its identity in views and traces."""
    return relative_path(record.recipe, record.arm, record.key, record.attempt)


def lock_of(results: Path, recipe: str) -> Path:
    """The file that whoever runs a recipe into this folder holds locked, wherever it trains."""
    return results / FOLDER / recipe / ".lock"


class RefusedRecord(RequestError):
    """What a record says cannot be true, or be a record's."""


def check_writable(results: Path) -> None:
    """Raise RequestError if records cannot be written below `results`, e.g. a file in its place.

    Creates nothing.
    """
    for folder in (results / FOLDER, results):
        if folder.exists() and not folder.is_dir():
            raise RequestError(f"results folder '{results}': '{folder.name}' is a file")
    nearest_existing = results / FOLDER
    while not nearest_existing.exists() and nearest_existing != nearest_existing.parent:
        nearest_existing = nearest_existing.parent
    if not nearest_existing.is_dir():
        raise RequestError(f"results folder '{results}': '{nearest_existing}' is a file")
    if not os.access(nearest_existing, os.W_OK | os.X_OK):
        raise RequestError(f"results folder '{results}': no permission to write there")


def write(results: Path, record: Record) -> Path:
    """Write a record and return its path. Immutable: an existing file is never overwritten.

    Raises Refused for a value that is not of the schema (NaN and infinity included) or a broken
    plausibility gate, RequestError for a file already there or a folder that cannot be written.
    """
    name = path_of(record)
    text = to_json(record)
    try:
        again = Record.model_validate_json(text)
    except ValidationError as error:
        raise RefusedRecord(f"{name} would not be a valid record: {explain(error)}") from None
    if again != record:
        raise RefusedRecord(f"{name} would not be read back as it was written")
    refuse_implausible(name, record)
    check_writable(results)
    path = results / name
    if path.exists():
        raise RequestError(f"{name} is already there, and records are never overwritten")
    try:
        write_atomically(path, text)
    except OSError as error:
        raise RequestError(f"{name} could not be written: {error.strerror}") from None
    return path


def refuse_implausible(name: str, record: Record) -> None:
    """Raise Refused for a record, of that file, that contradicts itself: one that was edited
    after it was written, or that another wrote."""
    if broken := contradictions(record):
        raise RefusedRecord(f"{name} is not plausible: {'; '.join(broken)}")


def contradictions(record: Record) -> list[str]:
    """What is wrong with a record that fits the schema, one line each; empty if nothing is."""
    # The gates calculate with the configuration, so it must be one.
    return configuration.faults(record.config) or gates.check(record)


def to_json(record: Frozen) -> str:
    """A record as JSON that is compact and yet shows a change on one line: a key or a point a line.

    Raises Refused for NaN or infinity.
    """
    lines = []
    for name, value in record.model_dump(mode="json").items():
        if isinstance(value, dict) and value:
            inner = [f"  {json.dumps(k)}: {_compact(name, v)}" for k, v in value.items()]
            text = "{\n" + ",\n".join(inner) + "\n }"
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(f"  {_compact(name, v)}" for v in value) + "\n ]"
        else:
            text = _compact(name, value)
        lines.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(name: str, value: Any) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except ValueError:
        raise RefusedRecord(
            f"a record's '{name}' holds NaN or infinity, which JSON has not"
        ) from None


@dataclass(frozen=True)
class Stored:
    """A record, and the digest of the very bytes that it was read from."""

    record: Record
    sha256: str


def read_all(results: Path) -> list[Record]:
    """All records of a results folder, in order of their paths; none where nothing was measured.

    Hidden files are passed over. Raises RequestError naming the file for anything else that is
    not a valid record in its place.
    """
    with uncollected():
        return [stored.record for stored in stored_in(results)]


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """While many records are read: they hold no cycles, and looking for some would take most of
    the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()  # nor will there be any later
            gc.enable()


def stored_in(results: Path) -> Iterator[Stored]:
    """As `read_all`, one by one and with the digest of each file."""
    folder = results / FOLDER
    for place in (results, folder):
        if place.exists() and not place.is_dir():
            raise RequestError(f"results folder '{results}': '{place.name}' is a file")
    for path in files_below(folder):
        relative = path.relative_to(results).as_posix()
        if any(part.startswith(".") for part in path.relative_to(results).parts):
            continue
        yield _read(path, relative)


def files_below(folder: Path) -> list[Path]:
    """Everything below a folder but folders, sorted; nothing where there is no folder.

    Raises RequestError for a folder that may not be read, which `rglob` passes over in silence,
    and for a link: a folder that somebody sent holds its own files, and leads nowhere else.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise RequestError(f"{error.filename} cannot be read: {error.strerror}")

    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        for name in (*folders, *names):
            if (path := Path(place) / name).is_symlink():
                raise RequestError(f"{path} is a link, and not a file of this folder")
        found += [Path(place) / name for name in names]
    return sorted(found)


def names(results: Path, recipe: str) -> set[str]:
    """The files of a recipe's records, as `path_of` calls them. Reads none of them."""
    found = files_below(results / FOLDER / recipe)
    return {path.relative_to(results).as_posix() for path in found if path.name[0] != "."}


def read(path: Path, relative: str) -> Record:
    """One record; `relative` is how messages call it, and where it says that it belongs.

    Raises RequestError for a foreign or corrupt file, or one that was moved or renamed.
    """
    return _read(path, relative).record


def _read(path: Path, relative: str) -> Stored:
    if not _FILE_NAME.fullmatch(path.name) or len(PurePosixPath(relative).parts) != 4:
        raise RequestError(
            f"{relative} is not a record: expected {FOLDER}/<recipe>/<arm>/<key>.<attempt>.json"
        )
    try:
        text = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise RequestError(f"{relative} cannot be read: {error.strerror}") from None
    record = _parse(json_without_controls(text), relative)
    if fault := configuration.no_section(record.config):
        raise RequestError(f"{relative} is not a valid record: {fault}")
    if path_of(record) != relative:
        raise RequestError(f"{relative} says of itself that it is {path_of(record)}")
    return Stored(record, hashlib.sha256(text).hexdigest())


def _parse(text: bytes, relative: str) -> Record:
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        fault = explain(error)
    # Not of today's schema: the version says most about why, and may be one that can be migrated.
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as why:
        raise RequestError(f"{relative} is not a valid record: not JSON ({why})") from None
    if not isinstance(content, dict):
        raise RequestError(f"{relative} is not a valid record: not a JSON object")
    try:
        current = to_current(content)
    except ValueError as why:
        raise RequestError(f"{relative} {why}") from None
    if current is content:
        raise RequestError(f"{relative} is not a valid record: {fault}")
    try:
        return Record.model_validate_json(json.dumps(current))
    except ValidationError as error:
        raise RequestError(f"{relative} is not a valid record: {explain(error)}") from None


def repeated_keys(path: Path) -> list[str]:
    """The names that one object of a record's file gives twice: JSON has the last one win, and a
    reader may look at the first."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        counts = Counter(name for name, _ in pairs)
        found.extend(name for name, count in counts.items() if count > 1)

    json.loads(path.read_bytes(), object_pairs_hook=note)
    return found


def finished_since(results: Path, recipe: str, arm: str, key: str, attempt: int) -> Record | None:
    """The newest record of a run that ended well after an attempt; None where there is none."""
    for later in range(next_attempt(results, recipe, arm, key) - 1, attempt, -1):
        name = relative_path(recipe, arm, key, later)
        if (results / name).exists() and (record := read(results / name, name)).status == "ok":
            return record
    return None


def next_attempt(results: Path, recipe: str, arm: str, key: str) -> int:
    """The number of a run's next attempt: 1, or one above the highest that left a file.

    Whoever writes it asks in that moment, with the run's lock in hand: an earlier answer may be
    another process's by then.
    """
    folder = (results / relative_path(recipe, arm, key, 1)).parent
    found = [_FILE_NAME.fullmatch(path.name) for path in folder.glob("*.json")]
    attempts = [int(m["attempt"]) for m in found if m is not None and m["key"] == key]
    return max(attempts, default=0) + 1
