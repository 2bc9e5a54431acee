"""What a launcher is: it starts jobs, sees them end, stops them, and collects their records.

A launcher is one file in `harness.launch.launchers`, or a user's own. What each of them needs
stands here: how a job is made ready, the command and the environment of its process, and the
record of one that died without leaving its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from filelock import FileLock, Timeout

from harness.files import write_atomically
from harness.launch import account
from harness.launch.protocol import Job
from harness.launch.tail import Tail
from harness.machine import surroundings
from harness.plan.runs import Run
from harness.records import store
from harness.records.schema import Record, Status

LOCK_SECONDS = 10.0
"""How long the record of a job that died may wait for another process at its run."""

ALLOCATOR = {
    # glibc returns every large buffer to the system at once and pays page faults for the next.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
}


@dataclass
class Task:
    """A job that was started, and what is known of it; a launcher adds what it needs."""

    job: Job
    tail: Tail
    """Follows what the job's process says of its progress."""


class Launcher(ABC):
    """Starts jobs somewhere. A kind of launcher is one subclass in a file of its own."""

    name: ClassVar[str]
    """What `--launcher` takes."""
    shares_runs: ClassVar[bool] = False
    """Whether it can have several processes work on one run (`job.run.world_size` of them)."""
    patience_seconds: ClassVar[float] = 60.0
    """How long `stop` waits for jobs to save their states before it kills them."""

    takes_address: ClassVar[bool] = False
    """Whether it works on other machines, which `address` finds."""
    address: str | None = None
    """What `--address` says."""

    def absence(self) -> str | None:
        """Why it cannot be used here, and what mends that; None where it can."""
        return None

    def open(self, code: Path) -> None:  # noqa: B027 - most have nothing to do
        """Make ready to start jobs of this code. Raises RequestError where that cannot be."""

    def close(self) -> None:  # noqa: B027
        """Let go of what `open` or `start` took; no job is running any more."""

    def at_once(self, here: int, runs: Sequence[Run]) -> int:
        """How many of the runs to start at a time, where this machine holds `here`. Asked between
        `open` and `close`."""
        return here

    @abstractmethod
    def start(self, job: Job, code: Path) -> Task:
        """Start a job with the packages that the folder `code` holds, and return what it became.

        What it starts makes the job `ready`, and runs `command` in `environment` as its own
        child.
        """

    @abstractmethod
    def poll(self, task: Task) -> bool:
        """Whether the task has ended. Asked several times a second; does not wait."""

    @abstractmethod
    def stop(self, tasks: Sequence[Task]) -> None:
        """Ask the tasks to save their states and end, and return when all have ended."""

    def collect(self, task: Task) -> Record:
        """The record of a task that has ended; written here if it died without one."""
        job, run, results = task.job, task.job.run, Path(task.job.results)
        task.tail.poll()  # its last lines
        if task.tail.attempt is not None:
            name = store.relative_path(run.recipe, run.arm, run.key, task.tail.attempt)
            if (results / name).exists():
                return store.read(results / name, name)
        if (elsewhere := account.made_elsewhere(job)) is not None:
            return elsewhere
        status, error = self.cause(task)
        return kept(job, lambda attempt: account.record(job, status, error, attempt=attempt))

    def cause(self, task: Task) -> tuple[Status, str]:
        """Why a task ended without a record, in one line. A launcher that knows more says it."""
        return "failed", f"its process left no record: {last_words(task.job)}"


@contextlib.contextmanager
def opened(launcher: Launcher, code: Path) -> Iterator[None]:
    """A launcher that can start jobs of this code."""
    launcher.open(code)
    try:
        yield
    finally:
        launcher.close()


def ready(job: Job) -> Job:
    """The job as its process will read it, written into the run's folder.

    The process that calls this is the parent of the job's process: this one ends with it. A timed
    job waits for a calm machine first, though not for ever.
    """
    files = job.files
    files.folder.mkdir(parents=True, exist_ok=True)
    if job.launch is not None:
        before = surroundings.wait_for_calm(job.run.device)
        job = job.model_copy(update={"launch": job.launch.model_copy(update={"before": before})})
        shutil.rmtree(files.compile_cache, ignore_errors=True)
    start = {"launched_at": time.monotonic(), "launcher": os.getpid(), "token": uuid.uuid4().hex}
    job = job.model_copy(update=start)
    write_atomically(files.job, job.model_dump_json(indent=1))
    return job


def task_of(job: Job) -> Task:
    """What is known of a job that is `ready`, before its process has said anything."""
    return Task(job, Tail(job.files.metrics, job.run.config.tokens_per_update, job.token))


def command(job: Job, module: str = "harness.train") -> list[str]:
    """The words that start the process of a job that is `ready`."""
    # -P: a `models` folder in the user's current directory must not shadow ours.
    return [sys.executable, "-P", "-m", module, str(job.files.job)]


def environment(job: Job, code: Path) -> dict[str, str]:
    """The environment of a job's process: `code` is the folder with the packages to run."""
    threads, caches = str(job.run.config.train.threads), dict[str, str]()
    if job.launch is not None and job.launch.cache == "private":
        cache = job.files.compile_cache
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(cache), "TRITON_CACHE_DIR": str(cache / "triton")}
    return {
        **ALLOCATOR,
        **os.environ,
        "PYTHONPATH": str(code),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        **caches,
    }


def last_words(job: Job) -> str:
    """The last line that a job's process wrote to its log."""
    try:
        lines = job.files.log.read_text("utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        lines = []
    return lines[-1][:300] if lines else "it said nothing"


def kept(job: Job, record_of: Callable[[int], Record]) -> Record:
    """Store the record that `record_of` makes of the number of the run's next attempt."""
    results, run = Path(job.results), job.run
    with _lock_of(job):
        record = record_of(store.next_attempt(results, run.recipe, run.arm, run.key))
        store.write(results, record)
    return record


@contextlib.contextmanager
def _lock_of(job: Job) -> Iterator[None]:
    """The run's lock; without it where another process keeps it for long: that one's own record
    comes when it ends, and this one's now."""
    lock = FileLock(job.files.lock)
    with contextlib.suppress(Timeout):
        lock.acquire(timeout=LOCK_SECONDS)
    try:
        yield
    finally:
        lock.release()
