"""Intervals for a ratio of sums over documents, by resampling the documents. Pure.

They say how far a score hangs on which documents were scored, and nothing about seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
_CELLS = 4_000_000
"""Drawn indices held at once."""


def bits_per_byte_interval(
    nats: Sequence[float] | np.ndarray,
    sizes: Sequence[int] | np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile interval of sum(nats) / ln 2 / sum(sizes) over documents drawn with replacement
    (Efron & Tibshirani 1993, chapter 13). The same seed gives the same interval.

    `nats` and `sizes` (UTF-8 bytes) hold a value a document; documents without bytes do not
    count. None below two documents. Raises ValueError for unequal lengths or values that are not
    finite.
    """
    summed, weights = np.asarray(nats, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if summed.shape != weights.shape or summed.ndim != 1:
        raise ValueError(f"{summed.shape} nats and {weights.shape} sizes do not pair")
    if not (np.isfinite(summed).all() and np.isfinite(weights).all()):
        raise ValueError("a bootstrap takes finite values")
    counted = weights > 0
    summed, weights = summed[counted], weights[counted]
    n = len(summed)
    if n < 2:
        return None
    generator = np.random.Generator(np.random.PCG64(seed))
    ratios = np.empty(resamples)
    at_once = max(1, _CELLS // n)
    for start in range(0, resamples, at_once):
        part = ratios[start : start + at_once]
        drawn = generator.integers(n, size=(len(part), n))
        part[:] = summed[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(ratios / math.log(2), [tail, 1.0 - tail])
    return float(low), float(high)
