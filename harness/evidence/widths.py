"""How wide the interval of a question's pair is over the records so far, and would be with more.

Pure: records in, widths out. Where an interval lies is nobody's business here: what is bought next
may hang on how much is known, never on what came out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.evidence.differences import Contrast, differences, pairs_of, unasked
from harness.evidence.pairing import METRIC, Pairs
from harness.evidence.sections import Section, sections
from harness.records.schema import Record
from harness.records.store import path_of
from harness.stats.inference import Estimate
from harness.stats.narrowing import UNENDING


@dataclass(frozen=True)
class Width:
    """The interval of an arm's difference from its reference."""

    pair: tuple[str, str]
    """The reference and the arm."""
    at: str
    """The horizon."""
    pairs: Pairs
    level: float
    unfair: str | None = None
    """Why the two are no fair pair, however many seeds there are; None where they are."""
    diverged: frozenset[int] = frozenset()
    """Seeds of which one of both arms diverged: they are no pair, and will not be."""

    @property
    def count(self) -> int:
        """Pairs that are there."""
        return len(self.pairs.ends)

    @property
    def now(self) -> Estimate:
        """As it stands."""
        return self.pairs.estimate(self.level)

    def after(self, count: int) -> Estimate | None:
        """As it is expected with so many pairs; None where there are fewer than two."""
        return self.pairs.expected(count, self.level)

    @property
    def floor(self) -> Estimate | None:
        """What no number of seeds is expected to go below."""
        return self.after(UNENDING)

    def narrows(self, count: int) -> float | None:
        """The share of its width that it is expected to lose by so many pairs in all."""
        later, half = self.after(count), self.now.half
        return 1.0 - later.half / half if later and later.half is not None and half else None

    def step(self, count: int) -> float | None:
        """The share of its standard error that the pair after `count` is expected to take."""
        before, after = self.after(count), self.after(count + 1)
        if before is None or after is None or not before.error or after.error is None:
            return None
        return 1.0 - after.error / before.error


def widths(
    records: Sequence[Record], recipe: str, scale: str, paths: Collection[str] | None = None
) -> list[Width]:
    """Of every pair of a recipe's question at a scale; `records` are of one class of device and
    hold those of its search.

    `paths` are those of records that new ones may stand beside: only pairs of them count, of the
    group with the most; None takes the group that the card shows. Empty where there is none, or
    the question is not about losses.
    """
    known = (s for s in sections(records) if not s.overrides)
    found = next((s for s in known if (s.recipe, s.scale) == (recipe, scale)), None)
    if found is None:
        return []
    if paths is not None:
        every = (found.group, *found.others)
        shared = [sum(path_of(r) in paths for r in group.records) for group in every]
        if not max(shared):
            return []
        found = dataclasses.replace(found, group=every[shared.index(max(shared))])
    question = found.group.question
    if question.metric != METRIC:
        return []
    return [_width(found, pair, paths) for pair in question.pairs]


def _width(section: Section, pair: tuple[str, str], paths: Collection[str] | None) -> Width:
    group, (against, arm) = section.group, pair
    at = group.question.at
    one = next(
        d for d in differences(section) if d.primary and (d.against, d.arm) == (against, arm)
    )
    pairs = pairs_of(group, Contrast(against, arm, at, one.tuning), METRIC)
    if paths is not None:
        ends = tuple(ends for ends in pairs.ends if all(end.path in paths for end in ends))
        pairs = dataclasses.replace(pairs, ends=ends)
    return Width(
        pair, at, pairs,
        one.value.level,
        unasked(section, one).refused,
        frozenset(r.seed for r in group.records if r.arm in pair and r.status == "diverged"),
    )  # fmt: skip
