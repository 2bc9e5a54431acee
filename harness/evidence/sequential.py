"""What a sequential design says to the records so far: where it stopped, or which seeds it asks
for next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.evidence.endpoints import Reached, ends
from harness.evidence.pairing import Pairs
from harness.records.schema import Record
from harness.stats import sequential
from harness.stats.inference import MIN_PAIRS
from harness.stats.sequential import Stop


def stopped(pairs: Pairs, first_seed: int, looks: Sequence[float], family: int) -> Stop | None:
    """Where a pair of arms stopped, its seeds taken in their order without a gap; None where it
    has not."""
    there = {end.seed: (base, end) for base, end in pairs.ends}
    known: list[tuple[Reached, Reached]] = []
    while first_seed + len(known) in there:
        known.append(there[first_seed + len(known)])

    def p_value(n: int) -> float | None:
        return Pairs(tuple(known[:n]), pairs.metric).estimate().p_value

    return sequential.stop(p_value, len(known), looks, family)


def seeds_asked_for(
    pairs: Iterable[tuple[str, str]],
    at: str,
    first_seed: int,
    looks: Sequence[float],
    finished: Iterable[Record],
) -> int:
    """How many seeds the design asks for, given the finished runs: those up to the stop of the
    last of its `pairs`, or one more than all of them have, but `MIN_PAIRS` at once."""
    asked = list(pairs)
    reached = [end for end in ends(finished) if end.horizon == at]
    most, needed = MIN_PAIRS + len(looks) - 1, MIN_PAIRS
    for against, arm in asked:
        left, right = ({e.seed: e for e in reached if e.arm == one} for one in (against, arm))
        both = Pairs(tuple((left[s], right[s]) for s in sorted(left.keys() & right.keys())))
        end = stopped(both, first_seed, looks, len(asked))
        have = next(n for n in range(most + 1) if first_seed + n not in left.keys() & right.keys())
        needed = max(needed, end.pairs if end else min(have + 1, most))
    return needed
