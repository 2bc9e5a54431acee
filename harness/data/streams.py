"""A source as a stream: batches of its rows, from any position on.

A position is plain JSON, so that a preparation that was cut off can write down where it stood and
go on with exactly the next row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

BATCH_ROWS = 64
"""Rows that are handed out, and tokenized by one process, at a time."""

Position = dict[str, Any]


@dataclass(frozen=True)
class SourceBatch:
    """Consecutive rows of a source."""

    before: Position
    """The position from which reading starts with exactly these rows; plain JSON."""
    values: Sequence[Any]
    """Texts or conversations, as their writer meant them: no stored or guessed form."""
    places: Sequence[str] = ()
    """Where each value stands, for people: file and line or row; empty where nobody need be
    told."""


@dataclass(frozen=True)
class Stream:
    """A source whose rows can be read from any position on, and its share of a mix."""

    name: str
    kind: str
    share: float
    origin: str
    """For the manifest: where it was read."""
    batches: Callable[[Position | None], Iterator[SourceBatch]]
    column: str = "text"
    held_out: Callable[[str], bool] | None = None
    """Whether a text belongs to validation; None lets a hash of the text decide."""


def listed(values: Sequence[Any], what: str) -> Callable[[Position | None], Iterator[SourceBatch]]:
    """The batches of rows that are in memory; `what` a row is, for people."""

    def batches(start: Position | None) -> Iterator[SourceBatch]:
        for row in range(start["row"] if start else 0, len(values), BATCH_ROWS):
            part = values[row : row + BATCH_ROWS]
            yield SourceBatch(
                {"row": row}, part, [f"{what} {row + i + 1}" for i in range(len(part))]
            )

    return batches
