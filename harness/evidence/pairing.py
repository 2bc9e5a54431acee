"""The pairs of two arms at one horizon, and what can be computed of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.evidence.endpoints import Reached
from harness.stats.crossed import crossed_difference
from harness.stats.inference import LEVEL, Estimate, t_interval

METRIC = "val_loss"
"""The one metric of which documents and the slope of a curve are known."""


@dataclass(frozen=True)
class Pairs:
    """(reference's endpoint, arm's), a seed each, seeds as the arm's come."""

    ends: tuple[tuple[Reached, Reached], ...]
    metric: str = METRIC

    @property
    def values(self) -> list[float]:
        """Arm less reference."""
        return [getattr(b, self.metric) - getattr(a, self.metric) for a, b in self.ends]

    @property
    def paths(self) -> tuple[str, ...]:
        """Of their records."""
        return tuple(end.path for pair in self.ends for end in pair)

    def estimate(self, level: float = LEVEL, plus: Sequence[float] | None = None) -> Estimate:
        """The mean difference, `plus` added to each seed's; its interval is over documents too
        where every endpoint keeps them, alike cut."""
        values = self.values
        if plus is not None:
            values = [value + more for value, more in zip(values, plus, strict=True)]
        tokens = self._tokens()
        if self.metric != METRIC or tokens is None:
            return t_interval(values, level)
        base, other = (
            np.array([pair[side].document_nats for pair in self.ends]) for side in (0, 1)
        )
        return crossed_difference(values, other - base, np.array(tokens), level)

    def _tokens(self) -> tuple[int, ...] | None:
        """Scored tokens of each document; None where the endpoints do not agree on them."""
        cuts = {end.document_tokens for pair in self.ends for end in pair}
        return next(iter(cuts)) if len(cuts) == 1 else None
