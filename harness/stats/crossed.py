"""The interval of a difference over seeds and documents, crossed: every seed met every document;
and what it is expected to be with another number of seeds.

Pure arithmetic on arrays.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats.inference import LEVEL, Estimate, Shares, half_width, t_interval


@dataclass(frozen=True)
class Squares:
    """Mean squares of differences over seeds and documents, one value a cell."""

    seeds: int
    """How many; so `documents`."""
    documents: int
    worth: float
    """Equally long documents that would tell as much."""
    of_seeds: float
    of_documents: float
    of_rest: float

    @property
    def _total(self) -> float:
        both = self.of_seeds + self.of_documents - self.of_rest
        return max(both, self.of_seeds, self.of_documents)

    @property
    def error(self) -> float:
        """Standard error of the mean, never less than either factor alone gives."""
        return math.sqrt(self._total / (self.seeds * self.documents))

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom."""
        n, worth = self.seeds - 1, self.worth - 1
        parts = ((self.of_seeds, n), (self.of_documents, worth), (self.of_rest, n * worth))
        below = sum(ms**2 / df for ms, df in parts)
        return self._total**2 / below if below else float(n)

    @property
    def shares(self) -> Shares:
        """Of each factor's own component of variance; what only a cell has is neither's and is
        shared, since more of either would lessen it."""
        seeds = max(self.of_seeds - self.of_rest, 0.0) + self.of_rest / 2.0
        documents = max(self.of_documents - self.of_rest, 0.0) + self.of_rest / 2.0
        both = seeds + documents
        return Shares(seeds / both, documents / both) if both else Shares(0.5, 0.5)

    def with_seeds(self, count: int) -> Squares:
        """The mean squares that so many seeds are expected to leave on the same documents: what
        documents have of their own counts once a seed, the rest is a seed's or a cell's."""
        own = (self.of_documents - self.of_rest) * count / self.seeds
        later = max(self.of_rest + own, 0.0)
        return dataclasses.replace(self, seeds=count, of_documents=later)


def crossed_difference(
    means: Sequence[float], nats: np.ndarray, tokens: np.ndarray, level: float = LEVEL
) -> Estimate:
    """The mean of `means` with an interval over seeds and documents, both taken as drawn.

    Falls back to seeds alone below two seeds or documents; see `squares`. Raises ValueError for
    shapes that do not fit.
    """
    alone, found = t_interval(list(means), level), squares(means, nats, tokens)
    if found is None:
        return alone
    half = half_width(found.error, found.df, level)
    return Estimate(alone.n, alone.mean, alone.sd, half, level, found.error, found.df, found.shares)


def squares(means: Sequence[float], nats: np.ndarray, tokens: np.ndarray) -> Squares | None:
    """What seeds and documents have of the differences; None below two of either.

    `means` holds a seed's difference in nats a token, over all documents; `nats` (seeds, documents)
    what each document adds to it, summed over its tokens; `tokens` (documents) how many those are.
    A document's part of the ratio of sums is linearised (Cochran 1977, Sampling Techniques, 6.5),
    its residual divided by the root of one less its share of the tokens, since a long document
    pulls the mean towards itself (MacKinnon & White 1985, J. Econometrics 29). Then two-way random
    effects with one value a cell: var = (MS_seeds + MS_documents - MS_rest) / cells, with
    Satterthwaite's degrees of freedom (1946, Biometrics Bulletin 2), documents counting as many as
    equally long ones would. Raises ValueError for shapes that do not fit.
    """
    n, count = nats.shape
    if n != len(means) or tokens.shape != (count,):
        raise ValueError(f"{len(means)} seeds and {tokens.shape} documents, but cells {nats.shape}")
    sd = t_interval(list(means)).sd
    scored = tokens > 0
    nats, weights = nats[:, scored], tokens[scored] / tokens.sum()
    count = int(scored.sum())
    if n < 2 or count < 2 or sd is None:
        return None
    per_token = nats / tokens.sum()
    residuals = count * (per_token - per_token.sum() / n * weights)
    residuals *= np.sqrt((count - 1) / (count * (1.0 - weights)))
    by_document = residuals.mean(axis=0)
    rest = residuals - residuals.mean(axis=1, keepdims=True) - by_document + residuals.mean()
    return Squares(
        seeds=n,
        documents=count,
        worth=1.0 / float((weights**2).sum()),
        of_seeds=count * sd**2,
        of_documents=n * float(((by_document - by_document.mean()) ** 2).sum()) / (count - 1),
        of_rest=float((rest**2).sum()) / ((n - 1) * (count - 1)),
    )
