"""What a process suffers on its way, by its own hand: announced phases, a SIGKILL inside of a
chosen write, a disk that is full just then, an update that takes long. Installed in a fork.

The code under test is not touched: functions are wrapped where their callers look them up.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

PHASES = {
    "preparation": "harness.commands.run_data:prepare_all",
    "training": "harness.train.loop:Loop._update",
    "validation": "harness.train.loop:Loop._validate",
    "checkpoint": "harness.train.loop:Loop._checkpoint",
    "record": "harness.train.worker:Worker._record",
    "card": "harness.report.card:regenerate",
}
"""Phase -> the function that is it."""

_replace, _fdopen, _open = os.replace, os.fdopen, io.open


def install(suffers: dict[str, Any]) -> None:
    """`announce`: a file that is told of phases; `slow`: seconds that an update takes more;
    `point`: (file pattern, which of its writes, `before` | `half` | `full` | `after`,
    `kill` or the disk to fill)."""
    for phase, place in PHASES.items():
        if "announce" in suffers or (phase == "training" and suffers.get("slow")):
            _wrap(place, functools.partial(_announced, phase, suffers))
    if "point" in suffers:
        Point(*suffers["point"], counter=suffers["counter"]).install()


def _wrap(place: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    import importlib

    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for one in outer:
        owner = getattr(owner, one)
    setattr(owner, name, around(getattr(owner, name)))


def _announced(phase: str, suffers: dict[str, Any], work: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(work)
    def wrapped(*given: Any, **named: Any) -> Any:
        _say(suffers, phase)
        if phase == "training" and suffers.get("slow"):
            time.sleep(suffers["slow"])
        try:
            return work(*given, **named)
        finally:
            _say(suffers, f"after {phase}")

    return wrapped


def _say(suffers: dict[str, Any], phase: str) -> None:
    if "announce" in suffers:
        handle = os.open(suffers["announce"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{os.getpid()} {phase}\n".encode())
        os.close(handle)


class Point:
    """One moment of one write."""

    def __init__(self, pattern: str, number: int, when: str, what: str, counter: str) -> None:
        self.pattern, self.number, self.when, self.what = pattern, number, when, what
        self.counter = Path(counter)
        """A file outside of the disk, whose size counts the writes of all processes."""
        self.target = ""

    def install(self) -> None:
        import harness.files as files

        point, written = self, files.written_atomically

        @contextlib.contextmanager
        def announced(path: Path) -> Iterator[BinaryIO]:
            point.target = str(path)
            try:
                with written(path) as file:
                    yield file
            finally:
                point.target = ""

        # By its name in every module that has imported it.
        import sys

        for module in list(sys.modules.values()):
            if getattr(module, "written_atomically", None) is written:
                module.written_atomically = announced  # type: ignore[attr-defined]

        os.replace = point.replace  # type: ignore[assignment]
        os.fdopen = point.fdopen  # type: ignore[assignment]
        if self.when == "line":
            from harness.launch.protocol import MetricsLog

            MetricsLog.append = point.torn(MetricsLog.append)  # type: ignore[method-assign]

    def due(self, path: str | os.PathLike[str], when: str) -> bool:
        if when != self.when or not fnmatch(str(path), f"*/{self.pattern}"):
            return False
        with _open(self.counter, "ab") as file:
            file.write(b".")
        return self.counter.stat().st_size == self.number

    def strike(self) -> None:
        if self.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        fill(Path(self.what))

    def replace(self, source: Any, target: Any, **named: Any) -> None:
        if self.due(target, "full"):
            self.strike()
        _replace(source, target, **named)
        if self.due(target, "after"):
            self.strike()

    def fdopen(self, handle: int, *given: Any, **named: Any) -> Any:
        file = _fdopen(handle, *given, **named)
        if self.target and self.due(self.target, "before"):
            self.strike()
        if self.target and self.due(self.target, "half"):
            return _Half(file, self)
        return file

    def torn(self, append: Callable[..., None]) -> Callable[..., None]:
        def half(log: Any, event: str, **fields: Any) -> None:
            if event == "update" and self.due("/metrics.jsonl", "line"):
                log._file.write('{"event": "update", "upd')
                log._file.flush()
                self.strike()
            append(log, event, **fields)

        return half


class _Half:
    """A file of which half is written when it strikes."""

    def __init__(self, file: Any, point: Point) -> None:
        self._file, self._point = file, point

    def __enter__(self) -> _Half:
        return self

    def __exit__(self, *why: Any) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        self._point.strike()
        return half + self._file.write(data[half:])


def fill(disk: Path) -> None:
    """Fill a file system to its last byte."""
    handle = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    size = 1 << 20
    while size:
        try:
            os.write(handle, b"x" * size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            size //= 2
    os.close(handle)
