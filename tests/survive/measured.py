"""`smol` in a process of its own, of which time and memory are measured, its children's with it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.survive.door import Said, state
from tests.survive.place import Warm

MEMORY_BYTES, SECONDS = 10**9, 30.0
"""What a hostile input may take."""
STOPPED_BYTES, STOPPED_SECONDS = 3 * 10**9, 120.0
"""Where it is ended: this machine is others', too."""
PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLED_SECONDS, GOES_SECONDS = 0.02, 5.0
"""How often it is looked at, and how long what it started may outlive it."""


@dataclass
class Measured(Said):
    """As `Said`, of a process; `seconds` are those of CPU that it and its children took."""

    peak_bytes: int = 0
    """Resident memory at its highest: of the largest process, as the kernel says it, or of all of
    them together, as it was seen every 20 ms."""
    stopped: bool = False
    left: int = 0
    """Its processes that were there after its end."""

    def faults(self) -> list[str]:
        """What breaks the contract of the door, or the limits."""
        found = super().faults()
        if self.peak_bytes > MEMORY_BYTES:
            found.append(f"took {self.peak_bytes / 1e6:,.0f} MB")
        if self.waited > SECONDS:
            found.append(f"took {self.waited:.0f} s")
        if self.left:
            found.append(f"left {self.left} processes")
        return found


def smol(warm: Warm, *words: str, at: Path, **variables: str) -> Measured:
    """Call the door in `at`, which is watched: in a fork of the warm process, whose memory counts
    with all that was imported beforehand."""
    before, logs = state(at), at.parent / "said"
    asked = {
        "words": words, "folder": str(at), "suffers": {}, "out": f"{logs}.out",
        "err": f"{logs}.err", "env": {**variables, "SURVIVE_CODE": f"{logs}.code"},
    }  # fmt: skip
    for old in at.parent.glob("said.*"):
        old.unlink()
    began = time.monotonic()
    pid = warm.fork(asked)
    peak, queued, stopped = 0, 0.0, False
    while not gone(pid):
        peak, waited = max(peak, sum(_resident(pid))), time.monotonic() - began
        queued = _queued(pid) or queued
        if not stopped and (peak > STOPPED_BYTES or waited - queued > STOPPED_SECONDS):
            _end(pid)
            stopped = True
        time.sleep(SAMPLED_SECONDS)
    waited = max(0.0, time.monotonic() - began - queued)
    gone_by = time.monotonic() + GOES_SECONDS
    while (left := len(list(_resident(pid)))) and time.monotonic() < gone_by:
        time.sleep(SAMPLED_SECONDS)
    _end(pid)
    said = {p.suffix: p.read_text("utf-8", errors="replace") for p in at.parent.glob("said.*")}
    seconds, most = map(float, said.get(".used", "0 0").split())
    return Measured(
        int(said[".code"]) if ".code" in said else -9, said[".out"], said[".err"], seconds, waited,
        state(at) != before, words, max(peak, int(most)), stopped, left,
    )  # fmt: skip


def _queued(pid: int) -> float:
    """Seconds that a process was ready and others had the cores, as Linux counts them: a busy
    machine is nobody's fault."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def gone(pid: int) -> bool:
    """Whether a process that nobody waits for has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _resident(session: int) -> Iterator[int]:
    """The resident bytes of each process of a session."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                yield int(fields[21]) * PAGE


def _end(session: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
