"""The pairs of two arms at one horizon, and what can be computed of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.evidence.endpoints import Reached
from harness.stats import narrowing
from harness.stats.crossed import crossed_difference, squares
from harness.stats.inference import LEVEL, Estimate, t_interval
from harness.stats.surface import Axis, short_of_optimum

METRIC = "val_loss"
"""The one metric of which documents and the slope of a curve are known."""


@dataclass(frozen=True)
class Pairs:
    """(reference's endpoint, arm's), a seed each, seeds as the arm's come."""

    ends: tuple[tuple[Reached, Reached], ...]
    metric: str = METRIC
    tuning: tuple[tuple[Axis, ...], ...] = ()
    """The searches' losses about each arm's setting: what these may be short of their optima is an
    error of the difference, inside every interval. Empty where nothing is known of it."""

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
        nats, tokens = self._documents()
        if nats is None:
            return self._wide(t_interval(values, level))
        return self._wide(crossed_difference(values, nats, tokens, level))

    def expected(self, count: int, level: float = LEVEL) -> Estimate | None:
        """What so many pairs are expected to leave of `estimate`; None where these are fewer than
        two."""
        values, (nats, tokens) = self.values, self._documents()
        if nats is None:
            return narrowing.expected(t_interval(values), None, count, level, self._short)
        now = crossed_difference(values, nats, tokens)
        return narrowing.expected(now, squares(values, nats, tokens), count, level, self._short)

    def second(self, level: float = LEVEL) -> Estimate | None:
        """The mean difference on the second text, over seeds and documents, with the same error of
        the tuning; None where an endpoint has none, or they are not cut alike."""
        scores = [(a.second, b.second) for a, b in self.ends]
        both = [(a, b) for a, b in scores if a is not None and b is not None]
        cuts = {score.document_tokens for pair in both for score in pair}
        if len(cuts) != 1 or len(both) < len(scores):
            return None
        values = [b.loss - a.loss for a, b in both]
        nats = np.array([b.document_nats for _, b in both]) - np.array(
            [a.document_nats for a, _ in both]
        )
        return self._wide(crossed_difference(values, nats, np.array(next(iter(cuts))), level))

    def _wide(self, value: Estimate) -> Estimate:
        return value if not self.tuning or value.sd is None else value.widened(self._short)

    @property
    def _short(self) -> float:
        """The error that the arms' tuning leaves on the difference."""
        noise = t_interval(self.values).sd or 0.0
        return math.hypot(*(short_of_optimum(of, noise / math.sqrt(2.0)) for of in self.tuning))

    def _documents(self) -> tuple[np.ndarray | None, np.ndarray]:
        """(pairs, documents) nats that each adds to a difference, None where the endpoints keep
        none or are not cut alike; and the scored tokens of each document."""
        cuts = {end.document_tokens for pair in self.ends for end in pair}
        tokens = next(iter(cuts)) if len(cuts) == 1 else None
        if self.metric != METRIC or tokens is None:
            return None, np.empty(0)
        base, other = (
            np.array([pair[side].document_nats for pair in self.ends]) for side in (0, 1)
        )
        return other - base, np.array(tokens)
