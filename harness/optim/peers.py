"""The processes that take an optimizer's step together, and how they share its work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Peers(Protocol):
    """One of `count` processes that all hold the same gradients and take the same step."""

    @property
    def rank(self) -> int:
        """Which of them this one is."""

    @property
    def count(self) -> int:
        """How many there are."""

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, the same bits in each of them."""


def shares(work: Sequence[int], count: int) -> list[int]:
    """Which of `count` processes does each piece of work: the largest first, each to whoever has
    the least so far. The same answer in every process."""
    loads, owners = [0] * count, [0] * len(work)
    for place in sorted(range(len(work)), key=lambda place: (-work[place], place)):
        owners[place] = min(range(count), key=lambda rank: (loads[rank], rank))
        loads[owners[place]] += work[place]
    return owners
