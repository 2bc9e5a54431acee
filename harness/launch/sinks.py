"""Trackers beside running jobs, each a process of its own that may fail, hang or be slow alone."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.launch.base import Task
from harness.launch.execute import Display
from harness.launch.tracking import Tracker
from harness.records.schema import Record

PATIENCE_SECONDS = 30.0
"""How long trackers may take to their ends when all runs have ended."""


@dataclass
class _Process:
    """One tracker's process."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    lost: bool = False
    told: set[str] = field(default_factory=set)

    def tell(self, **message: str) -> None:
        """Send a line without ever waiting; a tracker that does not read it is lost."""
        assert self.process.stdin is not None
        try:
            os.write(self.process.stdin.fileno(), (json.dumps(message) + "\n").encode())
        except OSError:  # it has ended, or thousands of messages wait
            self.lost = True


class Sinks:
    """A display that tells trackers of runs that start and end, beside the display that it is
    made of. Nothing that happens to a tracker reaches the runs."""

    def __init__(self, display: Display, chosen: Sequence[type[Tracker]], folder: Path) -> None:
        """`folder` is where trackers keep what they keep, a folder each."""
        self._display, self._folder = display, folder
        self._chosen = chosen
        self._processes: list[_Process] = []

    def __enter__(self) -> Self:
        """Start them. One that is not installed is named, and left out."""
        for tracker in self._chosen:
            if (why := tracker.missing()) is not None:
                self._display.note(f"{why}; the runs go on without")
                continue
            with contextlib.suppress(OSError):
                self._processes.append(self._start(tracker.name))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait a little for them to end; they are killed then."""
        for one in self._processes:
            with contextlib.suppress(OSError):
                assert one.process.stdin is not None
                one.process.stdin.close()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for one in self._processes:
            try:
                one.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
            if one.process.returncode != 0:
                one.lost = True
        self._say_lost()

    def show(self, running: Sequence[Task], waiting: int, done: Sequence[Record]) -> None:
        """As the display does; runs that are new are told to the trackers."""
        for task in running:
            for one in self._processes:
                if task.job.token not in one.told and not one.lost:
                    one.told.add(task.job.token)
                    one.tell(open=str(task.job.files.job), token=task.job.token)
        for one in self._processes:
            one.lost = one.lost or one.process.poll() is not None
        self._say_lost()
        self._display.show(running, waiting, done)

    def note(self, text: str) -> None:
        """As the display does."""
        self._display.note(text)

    def finished(self, record: Record) -> None:
        """As the display does; the trackers are told."""
        for one in self._processes:
            if not one.lost:
                one.tell(close=record.key, status=record.status)
        self._display.finished(record)

    def _start(self, name: str) -> _Process:
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "tracker.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.launch.track", name, str(folder)],
                stdin=subprocess.PIPE, stdout=output, stderr=output,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                start_new_session=True,  # Ctrl-C is the runs'; this one ends with its input
            )  # fmt: skip
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return _Process(name, process, log)

    def _say_lost(self) -> None:
        for one in [one for one in self._processes if one.lost]:
            self._processes.remove(one)
            with contextlib.suppress(OSError):
                one.process.kill()
            words = one.log.read_text("utf-8", errors="replace").strip().splitlines()
            why = f" ({words[-1][:200]})" if words else ""
            self._display.note(
                f"the tracker {one.name} was lost{why}; the runs are not touched by it: "
                f"`smol records push --to {one.name}` sends them afterwards"
            )
