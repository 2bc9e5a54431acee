"""Prepared sequences as batches: one canonical stream of training rows, and the validation rows.

Reads the Arrow files of a `datasets` folder through a memory map, without importing `datasets`
or torch. Rows may be fixed-length or plain lists; a `labels` column gives the targets.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from tokenize import TokenError

import numpy as np
import pyarrow as pa

from harness.data.tokens import END_OF_TEXT
from harness.errors import RequestError
from harness.files import read_json

UNREADABLE = (ArithmeticError, EOFError, MemoryError, OSError, SyntaxError, TokenError, TypeError,
              ValueError)  # fmt: skip
"""What numpy raises for a damaged array: its header is a line of Python."""

SECOND = "second"
"""The split that holds a second text."""
IGNORED = -100
"""A target that is not scored."""


@dataclass(frozen=True)
class Batch:
    """Rows of tokens and, for each position, the token to predict."""

    tokens: np.ndarray
    """(rows, seq_len) int64."""
    targets: np.ndarray
    """(rows, seq_len) int64: the next token of the row; IGNORED at its end and where masked."""
    documents: np.ndarray | None = None
    """(rows, seq_len) int64: the document of each token, counted from 0 in each row; None where
    nobody asked."""


@dataclass(frozen=True)
class Validation:
    """All validation rows."""

    tokens: np.ndarray
    """(rows, seq_len) int64."""
    targets: np.ndarray
    """(rows, seq_len) int64; IGNORED at each row's end and where masked."""
    documents: np.ndarray
    """(rows, seq_len) int64: the document of each token, counted from 0."""
    token_bytes: np.ndarray
    """(vocabulary,) int64: UTF-8 bytes of each token, 0 for special tokens."""
    row_documents: np.ndarray | None = None
    """(rows, seq_len) int64: as `Batch.documents`, where they were asked for."""
    second: Validation | None = None
    """The second text, where the folder holds one."""

    def batches(self, rows: int) -> Iterator[Batch]:
        """The rows in order, `rows` at a time; the last batch may be shorter."""
        for start in range(0, len(self.tokens), rows):
            part = slice(start, start + rows)
            documents = None if self.row_documents is None else self.row_documents[part]
            yield Batch(self.tokens[part], self.targets[part], documents)


class Split:
    """One split of a `datasets` folder, memory-mapped.

    Raises RequestError when it is not there, cannot be read, or has rows of different length.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tables = _open(folder)
        self._columns: dict[str, list[np.ndarray]] = {}
        self.names = frozenset(self._tables[0].column_names)
        if "input_ids" not in self.names:
            raise RequestError(f"{folder} has no column 'input_ids'")
        chunks = self.chunks("input_ids")
        self.seq_len = chunks[0].shape[1]
        self._starts = [0, *accumulate(len(chunk) for chunk in chunks)]
        self.rows = self._starts[-1]

    def kind(self, column: str) -> pa.DataType:
        """The Arrow type of a column's values."""
        return self._tables[0].schema.field(column).type

    def chunks(self, column: str) -> list[np.ndarray]:
        """The column as arrays (rows, seq_len) without copying, in order."""
        if column not in self.names:
            raise RequestError(f"{self.folder} has no column '{column}'")
        if column not in self._columns:
            arrays = [
                self._rectangle(column, chunk)
                for table in self._tables
                for chunk in table.column(column).chunks
                if len(chunk)
            ]
            if not arrays:
                raise RequestError(f"{self.folder} has no rows")
            lengths = {array.shape[1] for array in arrays}
            if len(lengths) > 1:
                raise RequestError(self._uneven(column, lengths))
            self._columns[column] = arrays
        return self._columns[column]

    def take(self, column: str, rows: np.ndarray) -> np.ndarray:
        """(len(rows), seq_len) int64: the rows asked for, copied."""
        chunks = self.chunks(column)
        out = np.empty((len(rows), chunks[0].shape[1]), dtype=np.int64)
        for i, row in enumerate(rows.tolist()):
            chunk = bisect_right(self._starts, row) - 1
            out[i] = chunks[chunk][row - self._starts[chunk]]
        return out

    def batch(self, rows: np.ndarray, *, documents: bool = False) -> Batch:
        """Tokens and targets of the rows asked for, and their documents if they are wanted."""
        tokens = self.take("input_ids", rows)
        labels = self.take("labels", rows) if "labels" in self.names else tokens
        targets = np.full_like(tokens, IGNORED)
        targets[:, :-1] = labels[:, 1:]
        return Batch(tokens, targets, self.documents(rows, tokens) if documents else None)

    def documents(self, rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(len(rows), seq_len) int64: the document of each token, counted from 0 in each row.

        From the column `documents`, else from the end-of-document tokens, which belong to the
        document that they end. Padding counts as a document. Raises RequestError where neither
        is known.
        """
        begins = np.zeros(tokens.shape, dtype=bool)
        if "documents" in self.names:
            stored = self.take("documents", rows)
            begins[:, 1:] = stored[:, 1:] != stored[:, :-1]
        else:
            begins[:, 1:] = tokens[:, :-1] == self.end_of_document
        return begins.cumsum(axis=1)

    @cached_property
    def end_of_document(self) -> int:
        """The token that ends a document. Raises RequestError where no tokenizer names it."""
        for folder in (self.folder, *self.folder.parents[:2]):
            file = folder / "tokenizer.json"
            if not file.is_file():
                continue
            for token in json.loads(file.read_bytes()).get("added_tokens", []):
                if token["content"] == END_OF_TEXT:
                    return int(token["id"])
        raise RequestError(
            f"{self.folder} has no column 'documents' and no tokenizer with {END_OF_TEXT}: where "
            "its documents end is not known, so train.document_mask must be false"
        )

    def _rectangle(self, column: str, chunk: pa.Array) -> np.ndarray:
        if chunk.null_count or not pa.types.is_nested(chunk.type):
            raise RequestError(self._no_ids(column, chunk))
        if pa.types.is_fixed_size_list(chunk.type):
            lengths = {chunk.type.list_size}
        else:
            lengths = set(np.unique(np.diff(np.from_dlpack(chunk.offsets))).tolist())
        values = chunk.flatten()
        if len(lengths) > 1:
            raise RequestError(self._uneven(column, lengths))
        if pa.types.is_boolean(values.type):  # a mask
            values = values.cast(pa.int8())
        if values.null_count or not pa.types.is_integer(values.type):
            raise RequestError(self._no_ids(column, chunk))
        # Not `to_numpy`, which imports pandas first: a second of every run's start.
        return np.from_dlpack(values).reshape(len(chunk), lengths.pop())

    def _no_ids(self, column: str, chunk: pa.Array) -> str:
        holes = chunk.null_count or (pa.types.is_nested(chunk.type) and chunk.flatten().null_count)
        found = "a null" if holes else str(chunk.type)
        return (
            f"{self.folder}: column '{column}' must hold lists of token ids (whole numbers), "
            f"not {found}"
        )

    def _uneven(self, column: str, lengths: set[int]) -> str:
        return (
            f"{self.folder}: rows of '{column}' have between {min(lengths)} and {max(lengths)} "
            "tokens; sequences must be of one length"
        )


def read_split(folder: Path, name: str) -> Split:
    """A split of a prepared folder, or of a `datasets` folder itself. Raises RequestError."""
    inside = folder / "dataset" if (folder / "dataset").is_dir() else folder
    if not (inside / name).is_dir():
        raise RequestError(f"'{folder}' has no split '{name}' that `datasets` saved")
    return Split(inside / name)


class TrainStream:
    """The canonical stream of training rows: without end, the same for everyone with this seed.

    Epoch e is a permutation of all rows derived from (data_seed, e). An update of S sequences
    takes the rows [u S, (u + 1) S), so arms with other batch sizes see the same prefix.
    """

    def __init__(self, folder: Path, data_seed: int, *, documents: bool = False) -> None:
        """With `documents` the batches say which document each token belongs to.

        Raises RequestError for a folder without readable training rows.
        """
        self._documents = documents
        self._split = read_split(folder, "train")
        self._seed = data_seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)
        self.row_count = self._split.rows
        self.seq_len = self._split.seq_len

    def rows(self, first: int, count: int) -> Batch:
        """`count` rows of the stream from position `first` on: arrays (count, seq_len)."""
        return self._split.batch(self.positions(first, count), documents=self._documents)

    def positions(self, first: int, count: int) -> np.ndarray:
        """(count,) which rows of the train split those are."""
        out = np.empty(count, dtype=np.int64)
        done = 0
        while done < count:
            epoch, start = divmod(first + done, self.row_count)
            part = self._permutation(epoch)[start : start + count - done]
            out[done : done + len(part)] = part
            done += len(part)
        return out

    def epochs(self, rows_consumed: int) -> float:
        """How often the train split was gone through."""
        return rows_consumed / self.row_count

    def _permutation(self, epoch: int) -> np.ndarray:
        # Sorting raw Philox output: numpy keeps it from version to version, unlike `permutation`.
        if epoch != self._epoch:
            seed = np.random.SeedSequence([self._seed, epoch])
            raw = np.random.Philox(seed).random_raw(self.row_count)
            self._order = np.argsort(raw, kind="stable")
            self._epoch = epoch
        return self._order


def read_validation(folder: Path, *, row_documents: bool = False) -> Validation:
    """All validation rows of a prepared folder, with `row_documents` if they are wanted, and those
    of its second text.

    Without a `documents` column each row counts as a document when losses are summed. Raises
    RequestError.
    """
    path = folder / "token_bytes.npy"
    try:
        token_bytes = np.load(path, allow_pickle=False).astype(np.int64)
    except UNREADABLE as error:
        raise RequestError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    second = None
    if (folder / "dataset" / SECOND).is_dir():
        second = _scored_rows(folder, SECOND, token_bytes, row_documents=row_documents)
    return _scored_rows(
        folder, "validation", token_bytes, row_documents=row_documents, second=second
    )


def _scored_rows(
    folder: Path,
    name: str,
    token_bytes: np.ndarray,
    *,
    row_documents: bool,
    second: Validation | None = None,
) -> Validation:
    split = read_split(folder, name)
    every = np.arange(split.rows)
    batch = split.batch(every, documents=row_documents)
    if "documents" in split.names:
        documents = split.take("documents", every)
    else:
        documents = np.repeat(every[:, None], split.seq_len, axis=1)
    return Validation(batch.tokens, batch.targets, documents, token_bytes, batch.documents, second)


def _open(folder: Path) -> list[pa.Table]:
    state = folder / "state.json"
    try:
        files = [entry["filename"] for entry in read_json(state)["_data_files"]]
        if not files:
            raise RequestError(f"{folder} has no rows")
        tables = []
        for name in files:
            source = pa.memory_map(str(folder / name))
            tables.append(pa.ipc.open_stream(source).read_all())
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RequestError(f"{folder} is not a readable `datasets` split: {why}") from None
    return tables
