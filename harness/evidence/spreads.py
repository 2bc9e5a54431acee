"""How far the differences of one pair of arms lie apart over seeds, as records measured it: what a
question that is yet to be asked can find depends on it.

Pure: records in, spreads out.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.differences import Contrast, pairs_of
from harness.evidence.pairing import METRIC
from harness.evidence.sections import sections
from harness.recipe import SCALES
from harness.records.schema import Record

FEWEST = 3
"""Pairs below which a standard deviation is no number."""
ALIKE = 1 / 3
"""Of the longest runs' tokens: spreads of shorter ones are left out, since differences of runs that
have hardly begun to learn lie much further apart."""


@dataclass(frozen=True)
class Spread:
    """The standard deviation of the paired differences of two arms, nats a token."""

    section: str
    scale: str
    against: str
    arm: str
    pairs: int
    sd: float
    tokens: int
    """Each run's, up to where they were compared."""

    @property
    def text(self) -> str:
        """Which spread it is, and of what scale."""
        return (
            f"{self.section}, {self.arm} less {self.against}: {self.sd:.4f} nats over "
            f"{self.pairs} pairs of {self.tokens:,} tokens"
        )


def paired(records: Sequence[Record]) -> list[Spread]:
    """Of every pair that a recipe asked about beforehand, at the largest scale that has one, of
    runs about as long as the longest there; the longest first. None where nothing was measured."""
    found = []
    for section in sections(records):
        question = section.group.question
        if question.metric != METRIC or section.overrides or section.role == "bundle":
            continue
        for against, arm in question.pairs:
            pairs = pairs_of(section.group, Contrast(against, arm, question.at), METRIC)
            if len(pairs.ends) >= FEWEST:
                spread = statistics.stdev(pairs.values)
                tokens = pairs.ends[0][0].tokens
                found.append(
                    Spread(section.name, section.scale, against, arm, len(pairs.ends), spread,
                           tokens)
                )  # fmt: skip
    largest = max((SCALES.index(s.scale) for s in found if s.scale in SCALES), default=None)
    if largest is None:
        return []
    there = [s for s in found if s.scale == SCALES[largest]]
    longest = max(s.tokens for s in there)
    return sorted(
        (s for s in there if s.tokens >= ALIKE * longest), key=lambda s: (-s.tokens, -s.sd)
    )
