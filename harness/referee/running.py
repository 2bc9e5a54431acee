"""One run of a foreign script: its own process group, a time and a memory limit, its output kept.

Whatever happens, no process of it is left when this returns or raises. POSIX only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import RequestError
from harness.records.foreign import End
from harness.referee.output import Bounded, last_line
from harness.referee.processes import MARK, Family, adopt

FIRST_POLL, SLOWEST_POLL = 0.005, 0.2
"""Seconds: a script of milliseconds is not kept waiting, one of hours not disturbed."""
SAMPLE_SECONDS, SETTLED_SECONDS = 0.1, 3.0
"""The time between samples of memory and open files in the first seconds, and how long these last;
after them sampling takes at most 1 % of a core, because the next sample waits for a hundred times
as long as the last one took."""
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
_NO_MEMORY = ("out of memory", "outofmemoryerror", "memoryerror", "cannot allocate memory")


@dataclass
class Ended:
    """How a run ended."""

    status: End
    reason: str | None
    exit_code: int | None
    seconds: float
    peak_bytes: int | None
    output: Bounded
    strays: int
    """Children that outlived the script, and were ended."""
    outside: set[str]
    """Files outside its folder that it was seen writing."""


def execute(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    mark: str,
    *,
    budget: float,
    memory_limit: int | None,
) -> Ended:
    """Run a program in a folder to its end, or end it at a limit.

    `mark` tells its processes from all others; `budget` is in seconds, `memory_limit` in bytes.
    Raises RequestError where the program does not exist or cannot be started.
    """
    family = Family(mark)
    output = Bounded()
    started = time.monotonic()
    adopt(True)
    try:
        process = subprocess.Popen(
            list(arguments), cwd=folder, env={**environment, MARK: mark}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        adopt(False)
        raise RequestError(
            f"--command: '{arguments[0]}' cannot be started: {error.strerror}"
        ) from None
    family.leader = process.pid
    reader = threading.Thread(target=_read, args=(process, output), daemon=True)
    reader.start()
    watch = _Watch(family, folder, started, budget, memory_limit)
    try:
        usage = watch.wait(process)
    finally:
        strays = family.end()  # also where we are interrupted
        if process.returncode is None:
            process.kill()
            process.wait()
        adopt(False)
        reader.join(5.0)
    seconds = time.monotonic() - started
    status, reason = _judge(process.returncode, watch.limit, output)
    return Ended(
        status, reason, process.returncode if process.returncode >= 0 else None, seconds,
        _peak(watch.peak, usage), output,
        0 if watch.limit else strays, watch.outside,
    )  # fmt: skip


class _Watch:
    """Waits for a process, and ends it at a limit."""

    def __init__(
        self, family: Family, folder: Path, started: float, budget: float, memory: int | None
    ) -> None:
        self.family, self.folder = family, folder.resolve()
        self.deadline, self.budget = started + budget, budget
        self.settled = started + SETTLED_SECONDS
        self.memory = memory
        self.peak: int | None = None
        self.outside: set[str] = set()
        self.limit: tuple[End, str] | None = None
        """The limit that the run met."""

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Until its end; returns the peak memory of its largest process, as the system says."""
        pause, sample_at = FIRST_POLL, 0.0
        while True:
            pid, code, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(code)
                return _MAXRSS_UNIT * usage.ru_maxrss
            now = time.monotonic()
            if self.limit is None and now >= self.deadline:
                self._stop("timeout", f"it had not ended after {self.budget:g} seconds")
            elif now >= sample_at:
                self._sample()
                rest = 100.0 * (time.monotonic() - now) if now >= self.settled else 0.0
                sample_at = now + max(SAMPLE_SECONDS, rest)
            time.sleep(min(pause, max(0.0, self.deadline - now) or FIRST_POLL))
            pause = min(1.2 * pause, SLOWEST_POLL)

    def _sample(self) -> None:
        self.outside |= self.family.writes_outside(self.folder)
        size = self.family.memory()
        if size is None:
            return
        self.peak = max(size, self.peak or 0)
        if self.limit is None and self.memory is not None and size > self.memory:
            self._stop("oom", f"it held {size / 2**20:.0f} MiB, more than the "
                              f"{self.memory / 2**20:.0f} MiB that it was given")  # fmt: skip

    def _stop(self, status: End, reason: str) -> None:
        self.limit = (status, reason)
        self.family.end()


def _peak(sampled: int | None, largest: int) -> int | None:
    """Peak memory from samples of the whole family and the system's account of its largest
    process. That account begins with the parent's own size, which a fork carries along, and says
    something only above it."""
    import resource  # which Windows does not have

    ours = _MAXRSS_UNIT * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    known = [size for size in (sampled, largest if largest > ours else None) if size]
    return max(known, default=None)


def _read(process: subprocess.Popen[bytes], output: Bounded) -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        while chunk := os.read(stream.fileno(), 2**16):
            output.feed(chunk)


def _judge(code: int, limit: tuple[End, str] | None, output: Bounded) -> tuple[End, str | None]:
    if limit is not None:
        return limit
    if code == 0:
        return "ok", None
    text = output.text()
    said = last_line(text)
    if any(word in text[-20_000:].lower() for word in _NO_MEMORY):
        return "oom", f"exit {code}: {said}"
    if code > 0:
        return "failed", f"exit {code}: {said}"
    name = signal.Signals(-code).name
    hint = ", perhaps by the system for want of memory" if name == "SIGKILL" else ""
    return "killed", f"ended by {name}{hint}: {said}"
