"""The interval of a difference over seeds and documents, crossed: every seed met every document.

Pure arithmetic on arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.stats.inference import LEVEL, Estimate, Shares, half_width, t_interval


def crossed_difference(
    means: Sequence[float], nats: np.ndarray, tokens: np.ndarray, level: float = LEVEL
) -> Estimate:
    """The mean of `means` with an interval over seeds and documents, both taken as drawn.

    `means` holds a seed's difference in nats a token, over all documents; `nats` (seeds, documents)
    what each document adds to it, summed over its tokens; `tokens` (documents) how many those are.
    A document's part of the ratio of sums is linearised (Cochran 1977, Sampling Techniques, 6.5),
    its residual divided by the root of one less its share of the tokens, since a long document
    pulls the mean towards itself (MacKinnon & White 1985, J. Econometrics 29). Then two-way random
    effects with one value a cell: var = (MS_seeds + MS_documents - MS_rest) / cells, never less
    than either factor alone gives, with Satterthwaite's degrees of freedom (1946, Biometrics
    Bulletin 2), documents counting as many as equally long ones would. Falls back to seeds alone
    below two seeds or documents. Raises ValueError for shapes that do not fit.
    """
    alone = t_interval(list(means), level)
    n, count = nats.shape
    if n != len(means) or tokens.shape != (count,):
        raise ValueError(f"{len(means)} seeds and {tokens.shape} documents, but cells {nats.shape}")
    scored = tokens > 0
    nats, weights = nats[:, scored], tokens[scored] / tokens.sum()
    count = int(scored.sum())
    if n < 2 or count < 2 or alone.mean is None or alone.sd is None:
        return alone
    per_token = nats / tokens.sum()
    residuals = count * (per_token - per_token.sum() / n * weights)
    residuals *= np.sqrt((count - 1) / (count * (1.0 - weights)))
    by_document = residuals.mean(axis=0)
    rest = residuals - residuals.mean(axis=1, keepdims=True) - by_document + residuals.mean()
    worth = 1.0 / float((weights**2).sum())  # equally long documents that would tell as much
    ms_seeds = count * alone.sd**2
    ms_documents = n * float(((by_document - by_document.mean()) ** 2).sum()) / (count - 1)
    ms_rest = float((rest**2).sum()) / ((n - 1) * (count - 1))
    total = max(ms_seeds + ms_documents - ms_rest, ms_seeds, ms_documents)
    parts = ((ms_seeds, n - 1), (ms_documents, worth - 1), (ms_rest, (n - 1) * (worth - 1)))
    below = sum(ms**2 / df for ms, df in parts)
    error, df = math.sqrt(total / (n * count)), total**2 / below if below else float(n - 1)
    return Estimate(
        n, alone.mean, alone.sd, half_width(error, df, level), level, error, df,
        _shares(ms_seeds, ms_documents, ms_rest),
    )  # fmt: skip


def _shares(ms_seeds: float, ms_documents: float, ms_rest: float) -> Shares:
    """Of each factor's own component of variance; what only a cell has is neither's and is
    shared, since more of either would lessen it."""
    seeds = max(ms_seeds - ms_rest, 0.0) + ms_rest / 2.0
    documents = max(ms_documents - ms_rest, 0.0) + ms_rest / 2.0
    both = seeds + documents
    return Shares(seeds / both, documents / both) if both else Shares(0.5, 0.5)
