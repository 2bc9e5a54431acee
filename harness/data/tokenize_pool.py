"""Tokenizing in several processes, results in the order of asking, and streams of texts that are
tokenized ahead.

The library's own threads are switched off: processes scale and threads of several processes
would fight. May not import torch or datasets: each process starts afresh with this module.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from harness.data import ends, left_out
from harness.data import tokenizer as tokenizers_
from harness.data.streams import SourceBatch, Stream
from harness.errors import RequestError

if TYPE_CHECKING:
    from harness.data.pretrain_state import SourceState

AHEAD = 3
"""Batches of each source read ahead, for each process."""

_own: list[tuple[Tokenizer, int]] = []
"""This process's tokenizer."""


_Flat = tuple[np.ndarray, np.ndarray]
"""All texts' tokens in a row, and where each text's end: one array passes between processes much
faster than a thousand."""


class PendingTokens:
    """Tokens that were asked for."""

    def __init__(self, flat: Future[_Flat]) -> None:
        self._flat = flat

    def result(self) -> list[np.ndarray]:
        """Waits; each text's (tokens,) int32, views of one array."""
        flat, ends = self._flat.result()
        stops = ends.tolist()
        return [flat[a:b] for a, b in zip([0, *stops[:-1]], stops, strict=True)]


class TokenizingPool:
    """Asks for tokens of texts, in this process or in others."""

    def __init__(self, executor: ProcessPoolExecutor | None) -> None:
        self._executor = executor

    def submit(self, texts: Sequence[str]) -> PendingTokens:
        """Each text's token ids, int32, with the end-of-text token after them."""
        if self._executor is not None:
            return PendingTokens(self._executor.submit(_encode, list(texts)))
        done: Future[_Flat] = Future()
        done.set_result(_encode(texts))
        return PendingTokens(done)


@contextmanager
def tokenizing(folder: Path, processes: int) -> Iterator[TokenizingPool]:
    """Processes with the tokenizer of `folder`; with one process, this one does the work.

    Raises RequestError when a process dies, as for want of memory.
    """
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    executor = None
    try:
        if processes == 1:
            _begin(str(folder))
        else:
            executor = ProcessPoolExecutor(
                processes, get_context("spawn"), initializer=_begin, initargs=(str(folder),)
            )
        yield TokenizingPool(executor)
    except BrokenProcessPool:
        raise RequestError(
            "a tokenizing process died (out of memory?); the same command goes on, --processes "
            "takes fewer"
        ) from None
    finally:
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)
        _own.clear()
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def _begin(folder: str) -> None:
    _own[:] = [(tokenizers_.load(Path(folder)), ends.separator(Path(folder)))]


def _encode(texts: Sequence[str]) -> _Flat:
    fitted, last = _own[0]
    return tokenizers_.encode_flat(fitted, texts, last)


class Reader:
    """One source's documents, tokenized ahead. It keeps its place in the state that it is given,
    exact to the document."""

    def __init__(
        self, source: Stream, state: SourceState, pool: TokenizingPool, ahead: int
    ) -> None:
        self._source, self._state, self._pool, self._ahead = source, state, pool, ahead
        self._batches = source.batches(state.position)
        self._pending: deque[tuple[SourceBatch, PendingTokens]] = deque()
        self._batch: SourceBatch | None = None
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
