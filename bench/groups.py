"""The words that bench suites are written in: a group of contestants that take turns.

A suite declares groups; each turn of each contestant is one pytest-benchmark test, in the order
in which they are to be measured: round by round, forwards and backwards in turn (ABBA). Ratios are
made within rounds and saved with an interval. Knows nothing of what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from harness.bench import saved
from harness.records.bench import BenchRow
from harness.stats import rounds as ratios


class Work(Protocol):
    """What is timed: calling it. It may have `rest()`, called after each of its turns, `extra()`,
    figures for its row once all turns are over, `says()`, a number that it computed and all of its
    group should, and `close()`."""

    def __call__(self) -> Any: ...


@dataclass(frozen=True)
class Size:
    """What a suite is run at."""

    device: str
    """cpu or cuda."""
    tiny: bool
    """A rehearsal: sizes at which everything takes a second and nothing means anything."""
    quick: bool
    """Without the contestants that take a minute to build."""
    rounds: int | None
    """Instead of a group's own number."""

    def of(self, cpu: Any, cuda: Any, tiny: Any) -> Any:
        """The value for this size."""
        return tiny if self.tiny else cuda if self.device == "cuda" else cpu

    @property
    def dtype(self) -> torch.dtype:
        """Of activations, everywhere."""
        return torch.bfloat16


@dataclass
class Group:
    """Contestants that do the same work."""

    name: str
    """Says the sizes, too."""
    base: str | None
    """The contestant that the others' ratios are to."""
    contestants: Mapping[str, Callable[[], Work]]
    """Name -> what builds it, on its first turn."""
    rounds: int = 7
    calls: int = 1
    """Timed calls in a turn."""
    untimed: int = 1
    """Calls before them."""
    agree: float = 0.02
    """Relative: how far what contestants say may be from what the base says, in bf16. What is fast
    and wrong is no contestant."""
    timings: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    extras: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everybody had every turn."""
        return all(len(self.timings.get(n, ())) == self.rounds for n in self.contestants)

    def close(self) -> None:
        """Ask for the extra figures and let go of everything. Raises AssertionError where one does
        not compute what the others do."""
        said = {}
        for name, work in self.works.items():
            extra = getattr(work, "extra", None)
            self.extras[name] = extra() if extra else {}
            if hasattr(work, "says"):
                said[name] = work.says()
            if hasattr(work, "close"):
                work.close()
        self.works.clear()
        for name, value in said.items():
            truth = said.get(self.base or name, value)
            apart = abs(value - truth) / max(abs(truth), 1e-30)
            assert apart <= self.agree, f"{self.name}: {name} says {value}, {self.base} {truth}"

    def rows(self) -> list[BenchRow]:
        """One a contestant. Only of a complete group."""
        found = []
        for name in self.contestants:
            rounds = self.timings[name]
            row = BenchRow(
                group=self.name,
                name=name,
                median_seconds=ratios.median(rounds),
                iqr_seconds=ratios.interquartile_range(rounds),
                rounds=len(rounds),
                extra=self.extras.get(name, {}),
            )
            if self.base is not None and name != self.base:
                ratio = ratios.ratio(self.timings[self.base], rounds)
                row = saved.against(row, self.base, ratio)
            found.append(row)
        return found


@dataclass(frozen=True)
class Turn:
    """One contestant's turn in one round: what a bench test gets."""

    group: Group
    name: str
    number: int

    @property
    def id(self) -> str:
        """As pytest prints it."""
        return f"{self.group.name}-{self.name}-{self.number}"

    def take(self, benchmark: BenchmarkFixture) -> None:
        """Do the work under pytest-benchmark's clock."""
        group, name = self.group, self.name
        if name not in group.works:
            group.works[name] = group.contestants[name]()
        benchmark.group = group.name
        benchmark.pedantic(
            group.works[name], rounds=group.calls, iterations=1, warmup_rounds=group.untimed
        )
        group.timings.setdefault(name, []).append(tuple(benchmark.stats.stats.data))
        if hasattr(group.works[name], "rest"):
            group.works[name].rest()
        if group.complete:
            group.close()


def turns(groups: Iterable[Group]) -> list[Turn]:
    """In the order in which they are to be taken: group by group, round by round."""
    return [
        Turn(group, name, number)
        for group in groups
        for number in range(group.rounds)
        for name in ratios.order(list(group.contestants), number)
    ]
