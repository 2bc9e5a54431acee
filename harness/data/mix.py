"""The order in which documents of several sources follow each other. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def shuffled(count: int, seed: int, source: int) -> np.ndarray:
    """(count,) a permutation that depends on the split's seed and the source's place alone.

    Made by sorting raw Philox output, which numpy promises to keep from version to version (its
    own `permutation` it does not).
    """
    raw = np.random.Philox(np.random.SeedSequence([seed, source])).random_raw(count)
    return np.argsort(raw, kind="stable")


def furthest_behind(taken: Sequence[int], shares: Sequence[float]) -> int:
    """Whose turn it is: the source that has least of its share, so every prefix keeps the shares.
    Those with share 0 never have a turn."""
    wanted = [i for i, share in enumerate(shares) if share > 0.0]
    return min(wanted, key=lambda i: (taken[i] / shares[i], i))


def interleave(
    streams: Sequence[Iterator[Item]], shares: Sequence[float], size: Callable[[Item], int]
) -> Iterator[tuple[int, Item]]:
    """Whole documents, always from the source that is furthest behind its share of the sizes.

    So every prefix holds the shares to within one document. Ends when the source whose turn it
    is has no more; sources with share 0 are never taken. Yields (source, document).
    """
    taken = [0] * len(shares)
    while True:
        source = furthest_behind(taken, shares)
        item = next(streams[source], None)
        if item is None:
            return
        taken[source] += size(item)
        yield source, item
