"""Which runs a comparison needs, in which order, and which of them are there already. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.records.foreign import ScriptArm, ScriptRecord
from harness.referee.arms import ForeignArm
from harness.referee.formats import Format
from harness.referee.reading import Way

FLOOR_SEED = 10_000
"""The noise floor's seeds begin here: they are not the verdict's, whose runs stay interleaved."""


@dataclass(frozen=True)
class Declared:
    """Where a comparison stands in a recipe."""

    name: str
    scale: str
    summary: str
    seeds: int
    """How many it froze."""


@dataclass(frozen=True)
class RefereeRequest:
    """What the user asked for, read and checked."""

    name: str
    seeds: int
    first_seed: int
    budget: float
    """Seconds of one run."""
    command: tuple[str, ...]
    """The command, with `{seed}` not filled in yet."""
    format: Format
    metric: str | None
    way: Way | None
    frozen: tuple[str, ...]
    equal: tuple[str, ...]
    shared: tuple[str, ...]
    noise_floor: int
    device: str
    memory_limit: int | None
    results: Path
    work: Path
    """Where copies and runs lie; nothing there is needed once the records are written."""
    recipe: Declared | None = None
    """The recipe that declares the comparison."""
    again: bool = True
    """Whether each arm runs its first seed a second time."""
    retry: bool = False
    fresh: bool = False
    dry_run: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether the runs have an accelerator, and to themselves."""
        return self.device != "cpu"

    @property
    def frozen_seeds(self) -> range:
        """The seeds of the verdict."""
        return range(self.first_seed, self.first_seed + self.seeds)


@dataclass(frozen=True)
class Conditions:
    """What decides a result besides an arm's files and seed."""

    command: tuple[str, ...]
    format: str
    device_class: str
    software: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ForeignRun:
    """One run."""

    arm: ForeignArm
    seed: int
    repeat: int
    conditions: Conditions

    @property
    def key(self) -> str:
        """The key of its record."""
        return key_of(self.arm.digest, self.conditions, self.seed, self.repeat)

    @property
    def words(self) -> str:
        """As a line of progress names it."""
        return f"{self.arm.name} seed {self.seed}{' again' if self.repeat else ''}"


def conditions_of(
    arm: ForeignArm, request: RefereeRequest, device_class: str, software: Mapping[str, str]
) -> Conditions:
    """The conditions of an arm's runs on this machine."""
    return Conditions(
        arm.command or request.command, request.format.text or request.format.name,
        device_class, tuple(sorted(software.items())),
    )  # fmt: skip


def key_of(digest: str, conditions: Conditions, seed: int, repeat: int) -> str:
    """The key of a run: 16 hexadecimal digits."""
    content = [digest, seed, repeat, *vars(conditions).values()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def slots(
    arms: Sequence[ForeignArm], request: RefereeRequest, conditions: Sequence[Conditions]
) -> list[ForeignRun]:
    """All runs that the answer needs, interleaved: the arms in order at one seed and in reverse
    order at the next (ABBA), so that a drift of the machine favours nobody. The repeats of the
    first seed come after it."""
    pairs = list(zip(arms, conditions, strict=True))
    ordered: list[ForeignRun] = []
    if len(arms) == 1:  # a noise floor alone
        return ordered
    for place, seed in enumerate(request.frozen_seeds):
        turn = pairs if place % 2 == 0 else pairs[::-1]
        ordered += [ForeignRun(arm, seed, 0, under) for arm, under in turn]
        if place == 0 and request.again:
            ordered += [ForeignRun(arm, seed, 1, under) for arm, under in reversed(pairs)]
    return ordered


def floor_slots(
    baseline: ForeignArm, request: RefereeRequest, conditions: Conditions
) -> list[ForeignRun]:
    """The runs of the noise floor."""
    seeds = range(FLOOR_SEED, FLOOR_SEED + request.noise_floor)
    return [ForeignRun(baseline, seed, 0, conditions) for seed in seeds]


def outdated(
    arms: Sequence[ScriptArm],
    records: Iterable[ScriptRecord],
    current: Iterable[str],
    files: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """A line for each arm that has runs which do not count here, with what has changed.

    `current` are the keys that count, `files` the files of every version by its digest.
    """  # fmt: skip
    keys = set(current)
    lines = []
    for arm in arms:
        old = [r for r in records if r.arm == arm.name and r.key not in keys]
        edited = [r for r in old if r.arm_digest != arm.digest]
        if not edited:
            continue
        last = max(edited, key=lambda r: r.created)
        ours, theirs = files.get(arm.digest, {}), files.get(last.arm_digest, {})
        changed = sorted(p for p in {*ours, *theirs} if ours.get(p) != theirs.get(p))
        shown = ", ".join(changed[:5]) + (", ..." if len(changed) > 5 else "")
        lines.append(
            f"{arm.name}: {len(edited)} runs are of other files and do not count here "
            f"(since {last.arm_digest}: {shown})"
        )
    return lines
