"""All processes of one run: found by a mark in their environment, which children inherit.

A process group or session can be left; a mark in the environment that a program was started with
is found again by a referee that was itself killed in between. A daemon that emptied its environment
becomes our child when its parent ends (`adopt`), or is known by the folder that it is in. Where
there is no /proc, psutil's tree of children serves if it is installed, else the process group.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "SMOL_REFEREE_RUN"
PROC = Path("/proc")

_HARMLESS = ("/dev/", "/proc/", "/sys/", "/memfd:", "pipe:", "socket:", "anon_inode:")


PR_SET_CHILD_SUBREAPER = 36
"""Of Linux's prctl."""
INIT = 1
"""The process that orphans go to, where nobody adopts them."""


def adopt(on: bool) -> None:
    """Whether orphans of our descendants become our children, and not init's; Linux only."""
    if _on_linux():
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


class Family:
    """The processes that carry a run's mark, and those of its group."""

    def __init__(self, mark: str, *, since_now: bool = True, folder: Path | None = None) -> None:
        """With `since_now`, processes that are there already are not looked at again: none of
        them can be a child of one that is still to be started, and every descendant of ours that
        comes is one. `folder` is the run's: an orphan that works in it is one, too."""
        self.folder = str(folder.resolve()) if folder is not None else None
        self.since_now = since_now
        self.mark = f"{MARK}={mark}".encode()
        self.leader: int | None = None
        """The process that was started, leader of its group."""
        self._strangers = set(_pids()) if since_now else set[int]()

    def pids(self) -> list[int]:
        """The processes that are alive now, the leader included."""
        if _on_linux():
            now = list(_pids())
            self._strangers.intersection_update(now)  # the number of one that ended is used again
            fresh = {pid: _stat(pid) for pid in now if pid not in self._strangers}
            return [
                pid for pid, (state, _) in fresh.items()
                if state not in ("", "Z")
                and (self._marked(pid) or (self.since_now and _descends(pid, fresh)))
            ]  # fmt: skip
        return _tree(self.leader) if self.leader is not None else []

    def _marked(self, pid: int) -> bool:
        try:
            if self.mark in (PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                return True
            inside = os.readlink(PROC / str(pid) / "cwd") if self.folder is not None else ""
        except OSError:  # ended since, or somebody else's
            return False
        # An orphan alone: a person's shell may stand in the folder, too.
        there = inside == self.folder or inside.startswith(f"{self.folder}/")
        return there and _stat(pid)[1] == INIT

    def memory(self) -> int | None:
        """Bytes that they hold together, shared pages counted once; None where unknown."""
        sizes = [size for pid in self.pids() if (size := _memory(pid)) is not None]
        return sum(sizes) if sizes else None

    def writes_outside(self, inside: Path) -> set[str]:
        """Regular files outside a folder that they hold open for writing; Linux only."""
        found: set[str] = set()
        for pid in self.pids() if _on_linux() else []:
            found |= {path for path in _written(pid) if not Path(path).is_relative_to(inside)}
        return found

    def _reap(self) -> None:
        """Children that we adopted and that have ended leave the system's table."""
        if not (self.since_now and _on_linux()):
            return
        for pid in _pids():
            if pid not in self._strangers and pid != self.leader and _stat(pid)[1] == os.getpid():
                with contextlib.suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)

    def end(self, patience: float = 5.0) -> int:
        """Kill all of them; returns how many there were."""
        seen: set[int] = set()
        deadline = time.monotonic() + patience
        while alive := self.pids():  # one may have forked while the others were being killed
            seen |= set(alive)
            for pid in alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        if self.leader is not None:  # also one that emptied its environment
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.leader, signal.SIGKILL)
        self._reap()
        return len(seen)


def _stat(pid: int) -> tuple[str, int]:
    """A process's state and its parent; an empty state is of one that is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[1])
    except (OSError, IndexError, ValueError):
        return "", 0


def _descends(pid: int, among: dict[int, tuple[str, int]]) -> bool:
    """Whether a process is our child, or that of another of these that is."""
    ours, seen = os.getpid(), set[int]()
    while pid in among and pid not in seen:
        seen.add(pid)
        pid = among[pid][1]
    return pid == ours


def _on_linux() -> bool:
    return (PROC / "self" / "environ").exists()


def _pids() -> Iterator[int]:
    if PROC.is_dir():
        yield from (int(name) for name in os.listdir(PROC) if name.isdigit())


def _psutil() -> Any:
    try:
        return importlib.import_module("psutil")
    except ImportError:
        return None


def _tree(leader: int) -> list[int]:
    psutil = _psutil()
    if psutil is None:
        return []
    try:
        process = psutil.Process(leader)
        return [leader, *(child.pid for child in process.children(recursive=True))]
    except psutil.Error:
        return []


def _memory(pid: int) -> int | None:
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    psutil = _psutil()
    try:
        return int(psutil.Process(pid).memory_info().rss) if psutil else None
    except psutil.Error:
        return None


def _written(pid: int) -> Iterator[str]:
    folder = PROC / str(pid)
    try:
        numbers = os.listdir(folder / "fd")
    except OSError:
        return
    for one in numbers:
        try:
            path = os.readlink(folder / "fd" / one)
            flags = (folder / "fdinfo" / one).read_text().partition("flags:")[2].split()[0]
        except (OSError, IndexError):
            continue
        writes = int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
        if writes and path.startswith("/") and not path.startswith(_HARMLESS):
            yield path.removesuffix(" (deleted)")
