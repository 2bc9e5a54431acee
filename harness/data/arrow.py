"""Writing the folder layout that `datasets` saves, file by file, so that memory stays flat.

Each file is complete or absent. What is written depends on the rows alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.manifest import array_digest


def write_rows(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """One Arrow file of rows; each column is (rows, seq_len) int32. Atomic."""
    import pyarrow as pa

    arrays = {
        name: pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(rows, dtype=np.int32).ravel()), rows.shape[1]
        )
        for name, rows in columns.items()
    }
    lengths = {name: rows.shape[1] for name, rows in columns.items()}
    table = pa.table(arrays, schema=_schema(lengths))
    temporary = path.with_suffix(".tmp")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def close_split(folder: Path, columns: Sequence[str], seq_len: int, digest: str) -> None:
    """Describe the Arrow files of a split's folder, in the order of their names.

    `digest` names its content: the library's own fingerprint depends on where and when.
    """
    names = sorted(path.name for path in folder.glob("*.arrow"))
    write_json(folder / "state.json", {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": digest[:16], "_format_columns": None, "_format_kwargs": {},
        "_format_type": None, "_output_all_columns": False, "_split": None,
    })  # fmt: skip
    features = _features(dict.fromkeys(columns, seq_len))
    write_json(folder / "dataset_info.json", {
        "citation": "", "description": "", "features": features, "homepage": "", "license": "",
    })  # fmt: skip


def close_dataset(folder: Path, splits: Sequence[str]) -> None:
    """Make the folder a `DatasetDict` of these splits."""
    write_json(folder / "dataset_dict.json", {"splits": list(splits)})


def write_split(folder: Path, columns: Mapping[str, np.ndarray]) -> None:
    """A whole split at once: each column is (rows, seq_len)."""
    folder.mkdir(parents=True)
    rows, seq_len = next(iter(columns.values())).shape
    for number, start in enumerate(range(0, rows, _FILE_ROWS)):
        part = {name: array[start : start + _FILE_ROWS] for name, array in columns.items()}
        write_rows(folder / f"data-{number:05d}.arrow", part)
    close_split(folder, list(columns), seq_len, array_digest(*columns.values()))


_FILE_ROWS = 16_384


def write_json(path: Path, content: Any) -> None:
    """Indented JSON, on the disk when this returns. Atomic."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _schema(lengths: Mapping[str, int]) -> Any:
    """The Arrow schema that `datasets` gives such columns: written here, since importing the
    library takes longer than a small preparation."""
    import pyarrow as pa

    fields = [pa.field(name, pa.list_(pa.int32(), length)) for name, length in lengths.items()]
    said = {"info": {"features": _features(lengths)}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(said)})


def _features(lengths: Mapping[str, int]) -> dict[str, Any]:
    """Lists of `length` int32, as `datasets` writes them."""
    value = {"dtype": "int32", "_type": "Value"}
    return {
        n: {"feature": value, "length": length, "_type": "List"} for n, length in lengths.items()
    }
