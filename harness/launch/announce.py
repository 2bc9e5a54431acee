"""What a launch is about to run, left in a file for those who watch: it alone knows what is next.

`<checkpoints>/<recipe>/.announced.json`, written when a launch begins and once more when it ends.
Where it says of no end and its process is gone, the launch was killed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil
from pydantic import ValidationError

from harness.config import Frozen
from harness.files import read_regular, write_atomically
from harness.launch.protocol import Job

FILE = ".announced.json"
MOST = 50_000_000
"""Bytes that such a file may have."""


class Due(Frozen):
    """A run of a launch."""

    key: str
    name: str
    arm: str
    seed: int
    stage: str
    first_update: int
    last_update: int
    tokens_per_update: int
    folder: str
    predicted_seconds: float | None


class Announced(Frozen):
    """A launch."""

    recipe: str
    scale: str
    device: str
    device_class: str
    results: str
    command: str
    """Goes on where it stopped."""
    workers: int
    """Runs at a time."""
    started: str
    """UTC, ISO 8601."""
    process: int
    process_started: float
    """When that process began, by the system's clock: a number is used again."""
    runs: tuple[Due, ...]
    """In the order in which they are to start."""
    ended: Literal["done", "interrupted", "failed"] | None = None

    @property
    def at_work(self) -> bool:
        """Whether its process is alive and has not said that it ended."""
        return self.ended is None and _alive(self.process, self.process_started)


def _alive(process: int, started: float) -> bool:
    try:
        found = psutil.Process(process)
        return abs(found.create_time() - started) < 2.0 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextlib.contextmanager
def announced(
    checkpoints: Path, jobs: Sequence[Job], workers: int, device_class: str
) -> Iterator[None]:
    """Leave the file while the jobs are run, and in it how that ended."""
    first = jobs[0]
    path = checkpoints / first.run.recipe / FILE
    said = Announced(
        recipe=first.run.recipe, scale=first.run.scale, device=first.run.device,
        device_class=device_class, results=first.results, command=first.command, workers=workers,
        started=datetime.now(UTC).isoformat(timespec="seconds"), process=os.getpid(),
        process_started=psutil.Process().create_time(), runs=tuple(map(_due, jobs)),
    )  # fmt: skip
    write_atomically(path, said.model_dump_json(indent=1))
    end: Literal["done", "interrupted", "failed"] = "failed"
    try:
        yield
        end = "done"
    except (KeyboardInterrupt, SystemExit):
        end = "interrupted"
        raise
    finally:
        with contextlib.suppress(OSError):
            write_atomically(path, said.model_copy(update={"ended": end}).model_dump_json(indent=1))


def _due(job: Job) -> Due:
    run = job.run
    return Due(
        key=run.key, name=run.name, arm=run.arm, seed=run.seed, stage=run.stage,
        first_update=run.first_update, last_update=run.last_update,
        tokens_per_update=run.config.tokens_per_update, folder=job.folder,
        predicted_seconds=job.predicted_seconds,
    )  # fmt: skip


def found(checkpoints: Path, results: Path) -> list[Announced]:
    """The launches that write to these results, the newest first; what is no such file is passed
    over."""
    launches = []
    for path in checkpoints.glob(f"*/{FILE}"):
        with contextlib.suppress(OSError, ValidationError):
            one = Announced.model_validate_json(read_regular(path, MOST))
            if Path(one.results) == results.resolve():
                launches.append(one)
    return sorted(launches, key=lambda one: one.started, reverse=True)
