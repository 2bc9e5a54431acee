"""Run jobs as local processes, a few at a time, parents before children.

Only this room starts processes. A child that dies without a record gets one from here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from filelock import FileLock, Timeout

from harness.files import write_atomically
from harness.launch import account
from harness.launch.protocol import Job
from harness.launch.tail import Tail
from harness.machine import surroundings
from harness.records import store
from harness.records.schema import Record, Status

POLL_SECONDS = 0.1
LOCK_SECONDS = 10.0
"""How long the record of a child that died may wait for another process at its run."""
PATIENCE_SECONDS = 60.0
"""How long an interrupted child may take to save its state, before it is killed."""

ALLOCATOR = {
    # glibc returns every large buffer to the system at once and pays page faults for the next.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
}


@dataclass
class Child:
    """A running process and what is known of it."""

    job: Job
    process: subprocess.Popen[bytes]
    tail: Tail


class Display(Protocol):
    """Whoever shows progress."""

    def show(self, running: Sequence[Child], waiting: int, done: Sequence[Record]) -> None:
        """Called several times a second."""

    def note(self, text: str) -> None:
        """A line that the user should see."""

    def finished(self, record: Record) -> None:
        """A run has ended and left this record."""


class Interrupted(Exception):
    """Ctrl-C, SIGTERM or SIGHUP: the children have saved their states and left records."""


def execute(
    jobs: Sequence[Job],
    *,
    workers: int,
    code: Path,
    display: Display,
    on_record: Callable[[Job, Record], None],
) -> list[Record]:
    """Run all jobs and return their records, in the order in which they ended.

    `code` is the folder that holds the packages to run, see `launch.snapshot`.
    A job whose parent (among these jobs) did not end `ok` is left out. On an interrupt the
    children are asked to stop, their records are collected, and Interrupted is raised. No child
    outlives an error either.
    """
    waiting, running, done = list(jobs), list[Child](), list[Record]()
    ended: dict[str, Status] = {}
    keys = {job.run.key for job in jobs}
    with _interrupted_by_signals():
        try:
            while waiting or running:
                waiting = _start(waiting, running, ended, keys, workers, code)
                for child in list(running):
                    child.tail.poll()
                    if child.process.poll() is not None:
                        running.remove(child)
                        _collect(child, done, ended, display, on_record)
                    _pass_on(child.tail, display)
                display.show(running, len(waiting), done)
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            _stop(running)
            for child in running:
                _collect(child, done, ended, display, on_record)
            raise Interrupted from None
        except BaseException:
            _stop(running)
            raise
    return done


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


def _pass_on(tail: Tail, display: Display) -> None:
    while tail.notes:
        display.note(tail.notes.pop(0))


def _start(
    waiting: list[Job],
    running: list[Child],
    ended: dict[str, Status],
    keys: set[str],
    workers: int,
    code: Path,
) -> list[Job]:
    left = []
    for job in waiting:
        parent = job.run.parent
        parent_ended = parent is None or parent not in keys or ended.get(parent) is not None
        if parent in keys and ended.get(str(parent), "ok") != "ok":
            ended[job.run.key] = "failed"  # its own children are left out too
        elif parent_ended and len(running) < workers:
            running.append(start(job, code))
        else:
            left.append(job)
    return left


def start(job: Job, code: Path) -> Child:
    """Start a job's process. Its output goes to `worker.log` in the run's folder.

    A timed job waits for a calm machine first, though not for ever.
    """
    files = job.files
    files.folder.mkdir(parents=True, exist_ok=True)
    caches: dict[str, str] = {}
    if job.launch is not None:
        before = surroundings.wait_for_calm(job.run.device)
        job = job.model_copy(update={"launch": job.launch.model_copy(update={"before": before})})
        if job.launch is not None and job.launch.cache == "private":
            shutil.rmtree(files.compile_cache, ignore_errors=True)
            caches = {
                "TORCHINDUCTOR_CACHE_DIR": str(files.compile_cache),
                "TRITON_CACHE_DIR": str(files.compile_cache / "triton"),
            }
    start = {"launched_at": time.monotonic(), "launcher": os.getpid(), "token": uuid.uuid4().hex}
    job = job.model_copy(update=start)
    write_atomically(files.job, job.model_dump_json(indent=1))
    threads = str(job.run.config.train.threads)
    environment = {
        **ALLOCATOR,
        **os.environ,
        "PYTHONPATH": str(code),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        **caches,
    }
    tail = Tail(files.metrics, job.run.config.tokens_per_update, job.token)
    with open(files.log, "ab") as output:
        process = subprocess.Popen(
            # -P: a `models` folder in the user's current directory must not shadow ours.
            [sys.executable, "-P", "-m", "harness.train", str(files.job)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
            start_new_session=True,  # a Ctrl-C reaches us alone; we pass it on
        )  # fmt: skip
    return Child(job, process, tail)


def _collect(
    child: Child,
    done: list[Record],
    ended: dict[str, Status],
    display: Display,
    on_record: Callable[[Job, Record], None],
) -> None:
    record = _record_of(child)
    shutil.rmtree(child.job.files.compile_cache, ignore_errors=True)
    done.append(record)
    ended[child.job.run.key] = record.status
    on_record(child.job, record)
    display.finished(record)


def _record_of(child: Child) -> Record:
    """The child's record; written here if it died without one."""
    job, run, results = child.job, child.job.run, Path(child.job.results)
    child.tail.poll()  # its last lines
    if child.tail.attempt is not None:
        name = store.relative_path(run.recipe, run.arm, run.key, child.tail.attempt)
        if (results / name).exists():
            return store.read(results / name, name)
    status, error = _cause_of_death(child)
    with _lock_of(job):
        attempt = store.next_attempt(results, run.recipe, run.arm, run.key)
        record = account.record(job, status, error, attempt=attempt)
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


def _cause_of_death(child: Child) -> tuple[Status, str]:
    code = child.process.returncode
    if code < 0:
        name = signal.Signals(-code).name
        return "killed", f"the process was ended by {name}; its last checkpoint is kept"
    lines = child.job.files.log.read_text("utf-8", errors="replace").strip().splitlines()
    last = lines[-1][:300] if lines else "it said nothing"
    return "failed", f"the process ended with code {code} and no record: {last}"


def _stop(running: Sequence[Child]) -> None:
    """Ask the children to save their states and end; kill whom it takes too long."""
    if running:
        with contextlib.suppress(OSError):  # the terminal may be what is gone
            runs = "1 run" if len(running) == 1 else f"{len(running)} runs"
            print(f"stopping: saving {runs}, up to {PATIENCE_SECONDS:.0f} s", file=sys.stderr)
    for child in running:
        child.process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + PATIENCE_SECONDS
    for child in running:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.process.kill()
            child.process.wait()
