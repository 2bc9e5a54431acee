"""What a tracker is, and what it is told: a run's description, and points of its curves. No torch.

The points come from the log that a run writes while it goes on, or from its record afterwards; the
names of the values are the same.
"""

from __future__ import annotations

import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from harness.config import flatten
from harness.launch.protocol import Job
from harness.records.schema import Record

NAMES = {
    "loss": "train/loss",
    "learning_rate_factor": "train/learning_rate_factor",
    "grad_norm": "train/grad_norm",
    "tokens_per_second": "train/tokens_per_second",
    "tokens": "tokens",
    "val_loss": "val/loss",
    "bits_per_byte": "val/bits_per_byte",
}
"""Field of a point in the log or in a record -> what trackers call it; the others stay at home."""
MOST_BYTES = 1 << 20
"""How much of a log is taken at once."""


@dataclass(frozen=True)
class TrackedPoint:
    """Values after an update."""

    update: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Tracked:
    """A run, as trackers group it: by recipe (their project), by arm (their group), by seed."""

    recipe: str
    arm: str
    seed: int
    stage: str
    scale: str
    key: str
    config: Mapping[str, Any] = field(default_factory=dict)
    """Dotted field -> value, with what the arm is on each axis."""

    @property
    def name(self) -> str:
        """`arm/seed/stage.scale`: unique in its recipe, but for a run with other settings."""
        return f"{self.arm}/{self.seed}/{self.stage}.{self.scale}"

    @classmethod
    def of(cls, run: Job | Record) -> Tracked:
        """Of a run that is about to start, or of one that left a record."""
        if isinstance(run, Job):
            one, config, values = run.run, flatten(run.run.config), run.arm_values
        else:
            one, config, values = run, flatten(run.config), run.arm_values  # type: ignore[assignment]
        about = {"arm": one.arm, "seed": one.seed, "stage": one.stage, "scale": one.scale}
        axes = {f"axis.{name}": value for name, value in values.items()}
        return cls(one.recipe, one.arm, one.seed, one.stage, one.scale, one.key,
                   {**about, **axes, **config})  # fmt: skip


class Tracker(ABC):
    """Somewhere that curves are shown. A kind of tracker is one subclass in a file of its own.

    It lives in a process of its own and may take its time: what it has not read yet waits in the
    runs' logs. What it raises ends it alone.
    """

    name: ClassVar[str]
    """What `--track` takes, and the extra that installs it."""
    package: ClassVar[str]
    """The library that it needs."""
    look: ClassVar[str]
    """The command that shows what it has kept, with `{folder}`."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where it keeps what it keeps on this machine; it need not exist."""
        self.folder = folder

    @classmethod
    def missing(cls) -> str | None:
        """How to install its library, where it is not there."""
        if importlib.util.find_spec(cls.package) is not None:
            return None
        return f"{cls.name} is not installed: `pip install 'smol-harness[{cls.name}]'`"

    @abstractmethod
    def open(self, run: Tracked, first: int) -> None:
        """Begin a run, or go on with it: its next point is after update `first`. What is known of
        it from there on, of a process that was interrupted, is replaced."""

    @abstractmethod
    def log(self, run: Tracked, points: Sequence[TrackedPoint]) -> None:
        """Take points of an open run, in the order of their updates."""

    @abstractmethod
    def close(self, run: Tracked, status: str) -> None:
        """A run has ended as its record's status says."""

    @abstractmethod
    def finish(self) -> None:
        """Nothing more will come: close what is open."""


class Log:
    """A run's `metrics.jsonl`, read from where its process with `token` has started."""

    def __init__(self, path: Path, token: str) -> None:
        """The file need not exist yet."""
        self.path, self.token = path, token
        self.first: int | None = None
        """The update before the first point, once that is known."""
        self._offset, self._begun, self._rate = 0, False, 0.0

    def read(self, tokens_per_update: int) -> list[TrackedPoint]:
        """What was added since, as far as its lines are whole; at most MOST_BYTES of it."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                data = file.read(MOST_BYTES)
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        points = []
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # torn by the end of an earlier process
                continue
            if event.get("event") == "start":
                self._begun = event.get("token") == self.token
            if not self._begun or event.get("event") not in ("update", "validation"):
                continue
            if event["event"] == "update" and event.get("seconds"):
                event["tokens_per_second"] = tokens_per_update / event["seconds"]
            points.append(point(event))
        if points and self.first is None:
            self.first = max(0, points[0].update - 1)
        return points


def point(fields: Mapping[str, Any]) -> TrackedPoint:
    """One point with trackers' names for what it holds."""
    values = {
        name: float(fields[field_])
        for field_, name in NAMES.items()
        if fields.get(field_) is not None
    }
    return TrackedPoint(int(fields["update"]), values)


def of_record(record: Record) -> list[TrackedPoint]:
    """The curves of a record, in the order of their updates. Long ones hold every n-th update."""
    found: Iterable[Mapping[str, Any]] = (
        one.model_dump() for one in (*record.training, *record.validation)
    )
    return sorted((point(one) for one in found), key=lambda one: one.update)
