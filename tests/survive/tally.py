"""What was done, what was wrong afterwards, and how far it is: printed as it goes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")


class Faulty(Protocol):
    """What holds the faults that were found."""

    faults: list[str]


def counted(what: str, each: Iterable[T], found: Faulty, every: int = 1) -> Iterator[T]:
    """Each of them, with a line after every so many: how many there were, and how long it took."""
    began, of = time.monotonic(), f" of {len(each)}" if isinstance(each, Sized) else ""
    for number, one in enumerate(each, 1):
        yield one
        if number % every == 0 or of == f" of {number}":
            seconds, faults = time.monotonic() - began, len(found.faults)
            print(f"{what}: {number}{of}, {seconds:.0f} s, {faults} faults", flush=True)


@dataclass
class Tally:
    """What was done, and what was wrong afterwards."""

    done: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    """At random: processes that there were."""
    faults: list[str] = field(default_factory=list)
    orphans: list[float] = field(default_factory=list)
    """Seconds from the launcher's death to that of the last process it had started."""

    def note(self, what: str, faults: list[str]) -> None:
        self.faults += [f"{what}: {fault}" for fault in faults]

    def lines(self) -> list[str]:
        said = [f"{number:4} {what}" for what, number in sorted(self.done.items())]
        if self.orphans:
            said.append(
                f"     longest that a process outlived its launcher: {max(self.orphans):.1f} s"
            )
        return [*said, f"{len(self.faults):4} faults", *(f"     {fault}" for fault in self.faults)]
