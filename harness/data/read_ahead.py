"""Streams of texts, read and tokenized ahead, one document after another.

A reader keeps its place in the state that it is given, exact to the document.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.data import left_out
from harness.data.hub import Batch
from harness.data.pretrain_state import SourceState
from harness.data.tokenize_pool import Pool, Tokens

AHEAD = 3
"""Batches of each source read ahead, for each process."""


@dataclass(frozen=True)
class TextSource:
    """A stream of texts that can start from any position."""

    name: str
    kind: str
    share: float
    column: str
    origin: str
    batches: Callable[[dict[str, Any] | None], Iterator[Batch]]
    held_out: Callable[[str], bool]
    """Whether a text belongs to validation."""


class Reader:
    """One source's documents, tokenized ahead."""

    def __init__(self, source: TextSource, state: SourceState, pool: Pool, ahead: int) -> None:
        self._source, self._state, self._pool, self._ahead = source, state, pool, ahead
        self._batches = source.batches(state.position)
        self._pending: deque[tuple[Batch, Tokens]] = deque()
        self._batch: Batch | None = None
        self._tokens: list[np.ndarray] = []

    def next(self) -> tuple[str, np.ndarray] | None:
        """The next text and its tokens, counted as read in the state; None at the end."""
        state = self._state
        while True:
            if self._batch is None or state.skip >= len(self._batch.values):
                resumed = self._batch is None
                if not self._advance():
                    return None
                if not resumed:
                    state.skip = 0
                continue
            text = self._batch.values[state.skip]
            tokens = self._tokens[state.skip]
            state.skip += 1
            if fault := left_out.text_fault(text):
                state.left_out.append([self._batch.places[state.skip - 1], fault])
                left_out.check(self._source.name, state.entries, state.rows)
            elif text is not None and text.strip():
                return text, tokens
            else:
                state.empty += 1

    def _advance(self) -> bool:
        while len(self._pending) < self._ahead:
            batch = next(self._batches, None)
            if batch is None:
                break
            texts = [
                text if text is not None and left_out.text_fault(text) is None else ""
                for text in batch.values
            ]
            self._pending.append((batch, self._pool.submit(texts)))
        if not self._pending:
            return False
        self._batch, future = self._pending.popleft()
        self._tokens = future.result()
        self._state.position = self._batch.before
        return True
