"""Documents into sequences of one length: texts cut where a sequence ends, conversations whole.
Pure functions."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.batches import IGNORED
from harness.data.chat import Encoded
from harness.errors import RequestError

PADDING = -1
"""The document of padding."""


@dataclass(frozen=True)
class Rows:
    """Packed sequences; all arrays (rows, seq_len)."""

    tokens: np.ndarray
    labels: np.ndarray
    documents: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """As they are stored."""
        return {"input_ids": self.tokens, "labels": self.labels, "documents": self.documents}


def pack(items: Sequence[tuple[int, Encoded]], seq_len: int, end: int) -> tuple[Rows, np.ndarray]:
    """Best fit, longest first: each conversation into the fullest sequence that can hold it.

    Returns the sequences, and the source of each document. Raises RequestError for nothing.
    """
    if not items:
        raise RequestError(
            "no conversation is held out for validation: give more, or raise --val-fraction"
        )
    order = sorted(range(len(items)), key=lambda i: (-len(items[i][1].tokens), i))
    room: list[tuple[int, int]] = []  # (free, row), sorted
    rows: list[list[int]] = []
    for i in order:
        length = len(items[i][1].tokens)
        at = bisect_left(room, (length, -1))
        if at == len(room):
            rows.append([i])
            free, row = seq_len, len(rows) - 1
        else:
            free, row = room.pop(at)
            rows[row].append(i)
        if free > length:
            insort(room, (free - length, row))
    tokens = np.full((len(rows), seq_len), end, dtype=np.int32)
    labels = np.full((len(rows), seq_len), IGNORED, dtype=np.int32)
    documents = np.full((len(rows), seq_len), PADDING, dtype=np.int32)
    owner: list[int] = []
    for row, members in enumerate(rows):
        at = 0
        for i in members:
            source, one = items[i]
            part = slice(at, at + len(one.tokens))
            tokens[row, part] = one.tokens
            labels[row, part][one.scored] = one.tokens[one.scored]
            documents[row, part] = len(owner)
            owner.append(source)
            at = part.stop
    return Rows(tokens, labels, documents), np.array(owner)


def fill(
    documents: Sequence[np.ndarray], seq_len: int, total: int | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Documents one after another, cut into sequences wherever one is full.

    Of their tokens the first `total` (all, where it is None), less a partial sequence at the end.
    Returns (tokens, documents), each (rows, seq_len) int32, the second with each token's place in
    `documents`; and how many tokens the partial sequence had.
    """
    lengths = [len(ids) for ids in documents]
    total = sum(lengths) if total is None else total
    rows = total // seq_len
    kept = rows * seq_len
    tokens = np.concatenate([np.empty(0, np.int32), *documents])[:kept]
    owners = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)[:kept]
    return tokens.reshape(rows, seq_len), owners.reshape(rows, seq_len), total - kept
