"""A local file row by row: the wanted column, as its writer meant it.

Nothing is guessed: JSON's texts stay texts, whatever they look like, and a column that `datasets`
stored in a form of its own (JSON as encoded text) is read through its decoding.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import splits
from harness.data.left_out import Refused
from harness.errors import RequestError, nearest
from harness.files import read_regular

ROWS = 256
"""Read at a time of a parquet file, which may hold gigabytes of equal texts in a few kilobytes."""
ENDINGS = (".txt", ".jsonl", ".parquet", ".json", ".csv", ".tsv")
_WHERE_ALONE = (".json", ".csv", ".tsv")
"""In a folder read only where it holds no others: beside data they mostly say something of it."""


@dataclass(frozen=True)
class FileRow:
    """One value of the column."""

    where: str
    """`line 3`, `row 3`; empty for a file that is one row."""
    value: Any
    """Refused, where the row cannot be read and others beside it can."""


@dataclass(frozen=True)
class Absent:
    """The value of a row that does not have the column."""

    column: str
    others: tuple[str, ...]

    def __str__(self) -> str:
        return f"no column '{self.column}'{nearest(self.column, self.others)}"


def parts(column: str) -> tuple[str, ...]:
    """The columns that `prompt+completion` joins; of any other name, itself."""
    joined = tuple(column.split("+"))
    return joined if all(joined) else (column,)


def is_readable(path: Path) -> bool:
    """Whether a file can be read, by its ending in whichever case."""
    return path.suffix.lower() in ENDINGS


def inside(
    folder: Path, split: str | None = "train", subset: str | None = None
) -> tuple[list[Path], str]:
    """The readable files of a folder's split (None: of all), those below it too, in the order of
    their paths; and how many of which other endings and splits are passed over, empty for none."""
    if saved := next((name for name in _OF_DATASETS if (folder / name).is_file()), None):
        raise RequestError(
            f"'{folder}' is a folder that `datasets` saved ({saved}): its to_parquet writes a file "
            "that is read"
        )
    there = [path for path in sorted(folder.rglob("*")) if not _aside(path, folder)]
    if lost := next((path for path in there if is_readable(path) and _leads_nowhere(path)), None):
        raise RequestError(f"{lost} is a link to a file that is not there")
    found = [path for path in there if path.is_file()]
    taken = [path for path in found if is_readable(path)]
    taken = [path for path in taken if path.suffix.lower() not in _WHERE_ALONE] or taken
    left = Counter(path.suffix.lower() or "no ending" for path in found)
    left -= Counter(path.suffix.lower() for path in taken)
    said = [f"{number:,} {ending}" for ending, number in sorted(left.items())]
    kept = taken if split is None else splits.chosen(folder, taken, split, subset)
    if others := len(taken) - len(kept):
        said.append(f"{others:,} that are not of the split '{split}'")
    return kept, ", ".join(said)


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


_OF_DATASETS = ("dataset_dict.json", "state.json")
_OF_RUNS = {"metrics.jsonl", "left_out.jsonl"}


def _aside(path: Path, folder: Path) -> bool:
    """Whether a file is no text of anybody's: hidden, or a log of a run or preparation of ours."""
    below = path.relative_to(folder).parts
    return path.name in _OF_RUNS or any(part.startswith(".") for part in below)


def either() -> str:
    """The endings, for messages."""
    return f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"


def read(path: Path, column: str) -> Iterator[FileRow]:
    """Row by row; where `column` joins several by `+`, a value is a dict of them, None for
    one that is missing; the first must be there. A line that is no row is Refused, but for the
    first: then it is another kind of file. Raises RequestError that names the file, and the line
    where there is one.
    """
    readers = {
        ".txt": _txt, ".jsonl": _jsonl, ".json": _jsonl, ".csv": _csv, ".tsv": _csv,
        ".parquet": _parquet,
    }  # fmt: skip
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise RequestError(f"{path} is no regular file")
    try:
        with path.open("rb") as file:
            begins = file.read(64)
        if kind := next((kind for start, kind in _OTHERS.items() if begins.startswith(start)), ""):
            raise RequestError(f"{path} is {kind}")
        yield from readers[path.suffix.lower()](path, column)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror or error}") from None


_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer and not the file it stands for: `git lfs pull`",
    b"\x1f\x8b": "compressed with gzip: unpack it (`gunzip`)",
    b"BZh": "compressed with bzip2: unpack it (`bunzip2`)",
    b"\xfd7zXZ": "compressed with xz: unpack it (`unxz`)",
    b"\x28\xb5\x2f\xfd": "compressed with zstandard: unpack it (`unzstd`)",
    b"PK\x03\x04": "a zip archive, as .xlsx is too: unpack it, or export the sheet as CSV",
    b"%PDF-": "a PDF and no text: extract its text first",
    **dict.fromkeys((b"\xff\xfe", b"\xfe\xff"), "UTF-16, not UTF-8: `iconv -f UTF-16 -t UTF-8`"),
}
"""How files begin that are another kind than their ending says -> what they are. (The first is the
small text that Git LFS leaves in a file's place until it is fetched.)"""


MOST_BYTES = 4 * 10**9
"""What a text file may have, or a JSON file that is no lines: it is held in memory several times
over. A file of a row a line, or of a table's rows, may have any size."""
ROW_BYTES = 200 * 10**6
"""What a row may have."""


def _txt(path: Path, column: str) -> Iterator[FileRow]:
    yield FileRow("", _decode(path, read_regular(path, MOST_BYTES), ""))


def _jsonl(path: Path, column: str) -> Iterator[FileRow]:
    begun = False
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(ROW_BYTES + 1), b""), start=1):
            where = f"line {number}"
            long = len(line) > ROW_BYTES
            if long and (begun or path.suffix == ".jsonl"):
                most = f"{ROW_BYTES / 1e6:,.0f} MB"
                raise RequestError(f"{path}: {where}: over {most}; a row a line is read")
            row = Refused("no JSON object a line", "it is long") if long else _object(line)
            if isinstance(row, Refused):
                if not begun:
                    if (whole := _documents(path)) is not None:
                        yield from _listed(whole, column)
                        return
                    raise RequestError(f"{path}: {where}: {row.why} ({row.detail})")
                yield FileRow(where, row)
            elif row is not None:
                begun = True
                yield FileRow(where, _pick(row, column))


def _documents(path: Path) -> list[Any] | None:
    """The rows of a file that is JSON over many lines: those of a list, or object after object;
    None where it is not."""
    reader, found = json.JSONDecoder(), []
    whole = read_regular(path, MOST_BYTES)
    try:
        text = whole.decode("utf-8-sig")
        at = len(text) - len(text.lstrip())
        while at < len(text):
            value, end = reader.raw_decode(text, at)
            found += value if isinstance(value, list) else [value]
            at = end + len(text[end:]) - len(text[end:].lstrip())
    except (ValueError, RecursionError):
        return None
    return found if found and isinstance(found[0], dict) else None


def _listed(values: Sequence[Any], column: str) -> Iterator[FileRow]:
    for number, value in enumerate(values, start=1):
        is_row = isinstance(value, dict)
        found = _pick(value, column) if is_row else Refused("not an object", type(value).__name__)
        yield FileRow(f"item {number}", found)


_BORDERS = ",;\t|"
"""What fields of CSV may stand between: what its first line has the most of, the comma if any."""


def _csv(path: Path, column: str) -> Iterator[FileRow]:
    """Every field is text: nothing is guessed."""
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            first = file.readline()
            border = "," if "," in first else max(_BORDERS, key=first.count)
            file.seek(0)
            reader = csv.DictReader(file, strict=True, delimiter=border)
            header = list(reader.fieldnames or ())
            if twice := next((name for name in header if header.count(name) > 1), None):
                raise RequestError(f"{path} has more than one column '{twice}'")
            for row in reader:
                where = f"line {reader.line_num}"
                if None in row or None in row.values():
                    detail = f"{len(header)} columns in the first line"
                    yield FileRow(where, Refused("a line of more or fewer fields", detail))
                else:
                    yield FileRow(where, _pick(row, column))
        except csv.Error as error:
            line = reader.reader.line_num
            raise RequestError(f"{path}: line {line}: not CSV ({error})") from None
        except UnicodeDecodeError as error:
            raise RequestError(f"{path}: not UTF-8 (byte {error.start + 1})") from None


def _object(line: bytes) -> dict[str, Any] | Refused | None:
    """A line's object, or why it is none; None for an empty line."""
    try:
        text = line.decode("utf-8-sig")
        if not text.strip():
            return None
        row = json.loads(text)
    except UnicodeDecodeError as error:
        return Refused("not UTF-8", f"byte {error.start + 1}")
    except (ValueError, RecursionError) as error:
        return Refused("not JSON", str(error))
    return row if isinstance(row, dict) else Refused("not an object", type(row).__name__)


def _pick(row: dict[str, Any], column: str) -> Any:
    names = parts(column)
    if names[0] not in row:
        return Absent(names[0], tuple(row))
    return row[column] if len(names) == 1 else {name: row.get(name) for name in names}


def _parquet(path: Path, column: str) -> Iterator[FileRow]:
    import pyarrow.parquet as pq

    with _parquet_faults(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        if twice := [name for name in parts(column) if schema.names.count(name) > 1]:
            raise RequestError(f"{path} has more than one column '{twice[0]}'")
        if parts(column)[0] not in schema.names:
            raise RequestError(f"{path}: {Absent(parts(column)[0], tuple(schema.names))}")
        number, held = 0, [name for name in parts(column) if name in schema.names]
        for group in (file.metadata.row_group(at) for at in range(file.num_row_groups)):
            if group.total_byte_size > ROW_BYTES * max(1, group.num_rows):  # not in memory yet
                most = f"{ROW_BYTES / 1e6:,.0f} MB"
                raise RequestError(f"{path} has rows of more than {most}")
        for batch in file.iter_batches(batch_size=ROWS, columns=held):
            for value in values(batch, schema, column):
                number += 1
                if isinstance(value, str) and len(value) > ROW_BYTES:
                    value = Refused("too long", f"{len(value) / 1e6:,.0f} MB")
                yield FileRow(f"row {number}", value)


@contextmanager
def _parquet_faults(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except pa.ArrowException as error:
        why = str(error).splitlines()[0]
        raise RequestError(f"{path}: not a readable parquet file ({why})") from None


def values(batch: Any, schema: Any, column: str) -> list[Any]:
    """A column's values in an Arrow batch or table, as `read` gives them."""
    names = parts(column)
    found = [
        decoder(schema, name)(_python(batch.column(name)))
        if name in schema.names
        else [None] * batch.num_rows
        for name in names
    ]
    if len(names) == 1:
        return found[0]
    return [dict(zip(names, row, strict=True)) for row in zip(*found, strict=True)]


def _python(column: Any) -> list[Any]:
    """An Arrow column's values; Refused for one that Python has no form for: bytes in a column of
    texts that are not UTF-8, a time outside of the calendar."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return [_one(value) for value in column]


def _one(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return Refused("not UTF-8", f"byte {error.start + 1}")
    except (ValueError, OverflowError) as error:
        return Refused(f"a {value.type} that is no value", str(error).splitlines()[0])


def columns_of(path: Path) -> tuple[str, ...]:
    """The names of a file's columns; of .jsonl, those that any row has. Raises RequestError."""
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        with _parquet_faults(path), pq.ParquetFile(path) as file:
            return tuple(file.schema_arrow.names)
    found: dict[str, None] = {}
    for row in read(path, "\0"):  # a name that no column has
        if isinstance(row.value, Absent):
            found |= dict.fromkeys(row.value.others)
    return tuple(found)


def decoder(schema: Any, column: str) -> Callable[[list[Any]], list[Any]]:
    """What turns a column's stored values into those that `datasets` hands out for an Arrow schema:
    a feature such as its `Json` is text in a file, and something else to its reader."""
    import pyarrow as pa

    kind = schema.field(column).type
    nested = pa.types.is_nested(kind)
    if b"huggingface" not in (schema.metadata or {}) and not isinstance(kind, pa.BaseExtensionType):
        # Nothing says that `datasets` stored it.
        return lambda values: _filled(values) if nested else values

    from datasets import Features  # a second to import

    try:
        one = Features.from_arrow_schema(pa.schema([schema.field(column)], schema.metadata))
    except (ValueError, KeyError, TypeError):  # a type that `datasets` has no feature for
        return lambda values: values

    def decoded(values: list[Any]) -> list[Any]:
        found = list(one.decode_batch({column: values})[column])
        return _filled(found) if nested else found

    return decoded


def _filled(value: Any) -> Any:
    """Objects without the fields that are null: a table gives every object those of all others."""
    if isinstance(value, list):
        return [_filled(one) for one in value]
    if isinstance(value, dict):
        said = ("content", "value")
        return {k: _filled(v) for k, v in value.items() if v is not None or k in said}
    return value


def _decode(path: Path, data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: {where}not UTF-8 (byte {error.start + 1})") from None
