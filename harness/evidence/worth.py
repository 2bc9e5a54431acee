"""How large a difference is: in tokens, against a margin, and beside what the arm took.

Pure: a section's records in, numbers and reasons out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence import machines
from harness.evidence.endpoints import Reached
from harness.evidence.pairing import Pairs
from harness.evidence.sections import Group
from harness.records.schema import Record
from harness.stats import tokens
from harness.stats.inference import Estimate, Margin

OTHER_KIND = "on other kinds of machine"


def slopes(group: Group, pairs: Pairs) -> list[float | None]:
    """Nats that the reference's loss falls per ln token near the horizon, at a constant rate: of
    the stem that each pair's endpoint of the reference went on from."""
    return [_slope(group.by_path[end.path], end, group.by_key) for end, _ in pairs.ends]


def _slope(record: Record, end: Reached, by_key: dict[str, Record]) -> float | None:
    stem = by_key.get(record.parent or "")
    if stem is None or stem.stage != "stem":
        return None
    points = [(point.tokens, point.val_loss) for point in stem.validation]
    return tokens.local_slope(points, end.tokens)


def margin(
    pairs: Pairs, difference: Estimate, steep: Sequence[float | None], declared: float | None
) -> Margin | None:
    """Within which the arms are equivalent: what the recipe declared, or what `tokens.MORE` more
    tokens bring by the slope, seed by seed; None where the slope is not resolved."""
    if declared is not None:
        return Margin.fixed(declared, difference)
    if tokens.unresolved(steep) is not None:
        return None
    sizes = [math.log1p(tokens.MORE) * slope for slope in steep if slope is not None]
    level = difference.level
    return Margin(
        statistics.fmean(sizes),
        pairs.estimate(level, sizes),
        pairs.estimate(level, [-size for size in sizes]),
    )


@dataclass(frozen=True)
class Outlay:
    """What the arm took, as multiples of its reference's."""

    minutes: float | None
    memory: float | None
    timed: bool
    reason: str | None = None
    """Why nothing is said; None where something is."""

    def turned(self) -> Outlay:
        """Of the reference, as multiples of the arm's."""
        minutes, memory = (1.0 / v if v else None for v in (self.minutes, self.memory))
        return Outlay(minutes, memory, self.timed, self.reason)

    @property
    def text(self) -> str:
        """`2.04 times the minutes (not timed), 1.12 times the memory`."""
        if self.reason is not None:
            return self.reason
        said = []
        if self.minutes is not None:
            mark = "" if self.timed else " (not timed)"
            said.append(f"{self.minutes:.2f} times the minutes{mark}")
        if self.memory is not None:
            said.append(f"{self.memory:.2f} times the memory")
        return ", ".join(said) or "not measured"


def outlay(group: Group, pairs: Pairs) -> Outlay:
    """Minutes of updates up to the horizon, the mean over the pairs, and peak memory, the highest
    of an arm; only where both arms ran on one kind of machine."""
    sides = [[group.by_path[pair[side].path] for pair in pairs.ends] for side in (0, 1)]
    chains = {k for side in sides for r in side for k in machines.of_chain(r, group.by_key)}
    if len(chains) != 1:
        return Outlay(None, None, False, OTHER_KIND if chains else "not measured")
    base, took = (statistics.fmean(pair[side].seconds for pair in pairs.ends) for side in (0, 1))
    peaks = [_peak(group, side[0].arm) for side in sides]
    memory = peaks[1] / peaks[0] if peaks[0] and peaks[1] else None
    timed = all(r.timing and r.timing.timed for side in sides for r in side)
    return Outlay(took / base if base else None, memory, timed)


def _peak(group: Group, arm: str) -> int | None:
    known = [r.memory.peak_bytes for r in group.records if r.arm == arm and r.memory]
    return max(known, default=None)
