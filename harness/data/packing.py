"""Whole conversations into sequences of one length, none cut in two. Pure functions."""

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
