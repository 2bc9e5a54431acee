"""Tokenizing in several processes, results in the order of asking.

The library's own threads are switched off: processes scale and threads of several processes
would fight. May not import torch or datasets: each process starts afresh with this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from harness.data import tokenizer as tokenizers_
from harness.errors import RequestError

_own: list[Tokenizer] = []
"""This process's tokenizer."""


_Flat = tuple[np.ndarray, np.ndarray]
"""All texts' tokens in a row, and where each text's end: one array passes between processes much
faster than a thousand."""


class Tokens:
    """Tokens that were asked for."""

    def __init__(self, flat: Future[_Flat]) -> None:
        self._flat = flat

    def result(self) -> list[np.ndarray]:
        """Waits; each text's (tokens,) int32, views of one array."""
        flat, ends = self._flat.result()
        stops = ends.tolist()
        return [flat[a:b] for a, b in zip([0, *stops[:-1]], stops, strict=True)]


class Pool:
    """Asks for tokens of texts, in this process or in others."""

    def __init__(self, executor: ProcessPoolExecutor | None) -> None:
        self._executor = executor

    def submit(self, texts: Sequence[str]) -> Tokens:
        """Each text's token ids, int32, with the end-of-text token after them."""
        if self._executor is not None:
            return Tokens(self._executor.submit(_encode, list(texts)))
        done: Future[_Flat] = Future()
        done.set_result(_encode(texts))
        return Tokens(done)


@contextmanager
def tokenizing(folder: Path, processes: int) -> Iterator[Pool]:
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
        yield Pool(executor)
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
    _own[:] = [tokenizers_.load(Path(folder))]


def _encode(texts: Sequence[str]) -> _Flat:
    return tokenizers_.encode_flat(_own[0], texts)
