"""Rows of a data set, streamed from the Hub or from local files, from any position on.

The files' order is shuffled by a seed; inside a file rows keep their order, so that a position
(file, place in it) says exactly what was read. Interruptions of the connection cost retries: a
row is handed out once or the reading stops with an error, never skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from harness.data import hub_limits
from harness.data import rows as local_rows
from harness.data.mix import shuffled
from harness.data.streams import Position, SourceBatch
from harness.errors import RequestError

TRIES = 8
"""How often reading is tried in a row without a batch in between; the waits between the tries
double."""
OPENING_TRIES = 3
FIRST_WAIT = 0.5
"""Seconds."""
LONGEST_WAIT = 30.0


@dataclass(frozen=True)
class DataTable:
    """One split of one subset of a data set, and the column that is wanted."""

    dataset: str
    """An id on the Hub, or a local file or folder of .parquet, .jsonl, .json, .csv or .txt."""
    subset: str | None
    split: str
    column: str
    revision: str | None = None
    """The commit on the Hub, so that what goes on later reads the same."""

    @property
    def local(self) -> bool:
        """Whether it lies in files of this machine."""
        return Path(self.dataset).expanduser().exists()

    @property
    def name(self) -> str:
        """Short, for the mix: the subset, or the last part of the id or path."""
        return self.subset or Path(self.dataset).name

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.dataset} {self.subset}" if self.subset else self.dataset


def pin(table: DataTable, progress: Callable[[str], None]) -> DataTable:
    """The table at the Hub's newest commit. Raises RequestError where the Hub does not answer."""
    if table.local or table.revision is not None:
        return table
    from huggingface_hub import HfApi

    info = _opened(table, lambda: HfApi().dataset_info(table.dataset, timeout=20), progress)
    return DataTable(table.dataset, table.subset, table.split, table.column, info.sha)


def columns(table: DataTable, progress: Callable[[str], None]) -> tuple[str, ...]:
    """The names of a table's columns. Raises RequestError for one that cannot be had."""
    if table.local:
        names = (name for file in _files(table) for name in local_rows.columns_of(file))
        return tuple(dict.fromkeys(names))
    return _opened(table, lambda: tuple(next(iter(_load(table)), ())), progress)


def batches(
    table: DataTable,
    seed: int,
    *,
    rows: int,
    progress: Callable[[str], None],
    start: Position | None = None,
) -> Iterator[SourceBatch]:
    """The table's rows, at most `rows` at a time, from a position on (`Batch.before`).

    Raises RequestError for what is not there, and when the connection stays broken.
    """
    if table.local:
        yield from _read_local(table, seed, rows, start)
        return
    position = start or {"file": 0, "state": None}
    failures = 0
    while True:
        try:
            for batch, after in _read(table, seed, rows, position, progress):
                failures, position = 0, after
                yield batch
            return
        except RequestError:
            raise
        except Exception as error:  # what the network libraries raise has no common class
            failures += 1
            if failures >= TRIES:
                raise RequestError(
                    f"reading {table.label} failed {failures} times in a row ({_line(error)}); "
                    "the same command goes on from here"
                ) from None
            progress(f"{table.label}: {_line(error)}; trying again ({failures} of {TRIES})")
            time.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2**failures))


def _read(
    table: DataTable,
    seed: int,
    rows: int,
    position: Position,
    progress: Callable[[str], None],
) -> Iterator[tuple[SourceBatch, Position]]:
    """Each batch with the position after it."""
    whole = _opened(table, lambda: _load(table), progress).with_format("arrow")
    order = shuffled(whole.num_shards, seed, 0)
    for number in range(position["file"], len(order)):
        part = whole.shard(num_shards=len(order), index=int(order[number]))
        row = 0
        if number == position["file"] and position["state"] is not None:
            part.load_state_dict(position["state"])
            row = position.get("row", 0)
        before = {"file": number, "state": part.state_dict(), "row": row}
        for found in part.iter(batch_size=rows):
            needed = local_rows.parts(table.column)[0]
            if needed not in found.column_names:
                absent = local_rows.Absent(needed, tuple(found.column_names))
                raise RequestError(f"{table.label} has {absent}")
            # Arrow's tables hold the stored form, of which `datasets` itself hands out another.
            values = local_rows.values(found, found.schema, table.column)
            name = f"{table.label} file {int(order[number]) + 1} of {len(order)}"
            places = [f"{name} row {row + i + 1}" for i in range(len(values))]
            row += len(values)
            after = {"file": number, "state": part.state_dict(), "row": row}
            yield SourceBatch(before, values, places), after
            before = after


def _read_local(
    table: DataTable, seed: int, rows: int, start: Position | None
) -> Iterator[SourceBatch]:
    """The same of files of this machine. Raises RequestError, naming the file."""
    files = _files(table)
    if start is not None and "state" in start:
        raise RequestError(
            f"the preparation of {table.name} was begun by another version: delete it"
        )
    at = start or {"file": 0, "row": 0}
    anything = start is not None
    order = shuffled(len(files), seed, 0)
    for number in range(at["file"], len(order)):
        path = files[int(order[number])]
        done = at["row"] if number == at["file"] else 0
        stream = islice(_values(path, table.column), done, None)
        while part := _together(stream, rows):
            places = [f"{path.name} {row.where}".strip() for row in part]
            yield SourceBatch({"file": number, "row": done}, [row.value for row in part], places)
            done, anything = done + len(part), True
    if not anything:
        raise RequestError(f"'{table.dataset}' is empty: no file holds a row")


CHARACTERS = 2**20
"""Of texts that are handed out at a time, but for one that has more: books are tokenized in several
processes, a batch in each."""


def _together(stream: Iterator[local_rows.FileRow], most: int) -> list[local_rows.FileRow]:
    """The next rows, neither too many nor too long in all; none at the end."""
    part: list[local_rows.FileRow] = []
    held = 0
    while len(part) < most and held < CHARACTERS and (row := next(stream, None)) is not None:
        part.append(row)
        held += len(row.value) if isinstance(row.value, str) else 0
    return part


def _values(path: Path, column: str) -> Iterator[local_rows.FileRow]:
    """A file's rows; one without the column has no value, unless it is the first: then it is the
    wrong column."""
    for number, row in enumerate(local_rows.read(path, column)):
        if not isinstance(row.value, local_rows.Absent):
            yield row
        elif number:
            yield local_rows.FileRow(row.where, None)
        else:
            raise RequestError(f"{path}: {row.value}")


def _files(table: DataTable) -> list[Path]:
    """Of one kind, in the order of their paths; empty ones hold nothing. Raises RequestError."""
    path = Path(table.dataset).expanduser()
    files = [path]
    if path.is_dir():
        files, _ = local_rows.inside(path, table.split, table.subset)
    elif table.split != "train":
        raise RequestError(f"'{table.dataset}' is one file: it has no split '{table.split}'")
    kinds = {file.suffix.lower() for file in files}
    if len(kinds) > 1 or not all(map(local_rows.is_readable, files)):
        found = "".join(files[0].suffixes) if path.is_file() else " and ".join(sorted(kinds))
        raise RequestError(
            f"'{table.dataset}' must be one file that ends in {local_rows.either()}, or a folder "
            f"of one kind of them, not {found or 'without an ending'}"
        )
    if not files:
        raise RequestError(f"folder '{table.dataset}' holds no {local_rows.either()} file")
    files = [file for file in files if file.stat().st_size]
    if not files:
        raise RequestError(f"'{table.dataset}' is empty")
    return files


def _load(table: DataTable) -> Any:
    import datasets

    # The library waits long between its tries; ours start again from a known position.
    datasets.config.STREAMING_READ_MAX_RETRIES = 3
    datasets.config.STREAMING_READ_RETRY_INTERVAL = 1
    # It logs what it also raises, and that is said once, by us.
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    return datasets.load_dataset(
        table.dataset, table.subset, split=table.split, streaming=True, revision=table.revision
    )


def _opened(table: DataTable, attempt: Callable[[], Any], progress: Callable[[str], None]) -> Any:
    """Raises RequestError saying what was tried, after a few tries."""
    hub_limits.limit_answers()
    for number in range(1, OPENING_TRIES + 1):
        try:
            return attempt()
        except RequestError:
            raise
        except Exception as error:  # likewise
            if number == OPENING_TRIES or not _passing(error):
                raise RequestError(
                    f"the Hub at {_endpoint()} does not give {table.label} ({_line(error)}; "
                    f"tried {number} times); --source embedded needs no Hub"
                ) from None
            progress(f"{table.label}: {_line(error)}; trying again")
            time.sleep(FIRST_WAIT * 2**number)
    raise AssertionError("the last try returns or raises")


def _passing(error: Exception) -> bool:
    """Whether another try may help: not where the Hub says that there is no such thing."""
    status = getattr(getattr(error, "response", None), "status_code", 500)
    absent = ("DatasetNotFoundError", "RepositoryNotFoundError", "OfflineModeIsEnabled")
    return status >= 500 and type(error).__name__ not in absent


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
