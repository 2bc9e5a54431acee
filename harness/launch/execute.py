"""Run jobs with a launcher, a few at a time, parents before children; nothing outlives an error."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from harness.launch.base import Launcher, Task
from harness.launch.protocol import Job
from harness.records.schema import Record, Status

POLL_SECONDS = 0.1


class Display(Protocol):
    """Whoever shows progress."""

    def show(self, running: Sequence[Task], waiting: int, done: Sequence[Record]) -> None:
        """Called several times a second."""

    def note(self, text: str) -> None:
        """A line that the user should see."""

    def finished(self, record: Record) -> None:
        """A run has ended and left this record."""


class Interrupted(Exception):
    """Ctrl-C, SIGTERM or SIGHUP: the jobs have saved their states and left records."""


@dataclass
class _Queue:
    """The jobs by how far they are."""

    waiting: list[Job]
    keys: frozenset[str]
    running: list[Task] = field(default_factory=list)
    done: list[Record] = field(default_factory=list)
    ended: dict[str, Status] = field(default_factory=dict)
    """How each run ended, by the run's key."""

    def due(self, job: Job) -> bool:
        """Whether nothing among these jobs stands before this one any more."""
        return job.run.parent not in self.keys or job.run.parent in self.ended

    def hopeless(self, job: Job) -> bool:
        """Whether what this job starts from did not end well."""
        return self.due(job) and self.ended.get(str(job.run.parent), "ok") != "ok"


def execute(
    jobs: Sequence[Job],
    *,
    launcher: Launcher,
    workers: int,
    code: Path,
    display: Display,
    on_record: Callable[[Job, Record], None],
    may_start: Callable[[Job], None] = lambda job: None,
) -> list[Record]:
    """Run all jobs, `workers` at a time; return their records in the order in which they ended.

    `code` is the folder that holds the packages to run, see `harness.code.snapshot`.
    A job whose parent (among these jobs) did not end `ok` is left out. On an interrupt the jobs
    are asked to stop, their records are collected, and Interrupted is raised. No job outlives an
    error either, which `may_start` may raise of a job.
    """
    queue = _Queue(list(jobs), frozenset(job.run.key for job in jobs))

    def collect(task: Task) -> None:
        record = launcher.collect(task)
        shutil.rmtree(task.job.files.compile_cache, ignore_errors=True)
        queue.running.remove(task)
        queue.done.append(record)
        queue.ended[task.job.run.key] = record.status
        on_record(task.job, record)
        display.finished(record)

    with _interrupted_by_signals():
        try:
            while queue.waiting or queue.running:
                _start(queue, launcher, workers, code, may_start)
                # A short run may end while another's record is written: it is seen before.
                display.show(queue.running, len(queue.waiting), queue.done)
                for task in list(queue.running):
                    task.tail.poll()
                    if launcher.poll(task):
                        collect(task)
                    while task.tail.notes:
                        display.note(task.tail.notes.pop(0))
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            _stop(queue.running, launcher)
            for task in list(queue.running):
                collect(task)
            raise Interrupted from None
        except BaseException:
            _stop(queue.running, launcher)
            raise
    return queue.done


def _start(
    queue: _Queue,
    launcher: Launcher,
    workers: int,
    code: Path,
    may_start: Callable[[Job], None],
) -> None:
    """Start what may start, as far as there is room; leave out what has nothing to start from."""
    left = []
    for job in queue.waiting:
        if queue.hopeless(job):
            queue.ended[job.run.key] = "failed"  # its own children are left out too
        elif queue.due(job) and len(queue.running) < workers:
            may_start(job)
            queue.running.append(launcher.start(job, code))
        else:
            left.append(job)
    queue.waiting = left


def _stop(running: Sequence[Task], launcher: Launcher) -> None:
    if running:
        with contextlib.suppress(OSError):  # the terminal may be what is gone
            runs = "1 run" if len(running) == 1 else f"{len(running)} runs"
            patience = launcher.patience_seconds
            print(f"stopping: saving {runs}, up to {patience:.0f} s", file=sys.stderr)
    launcher.stop(running)


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """SIGTERM (a scheduler's time is up) and SIGHUP (the terminal is gone) do what Ctrl-C does.

    Once: a closed terminal often sends SIGHUP twice, and a second Ctrl-C ends the children's
    patience. One that is ignored, as under nohup, stays so.
    """
    heard = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in heard:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in heard:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)
