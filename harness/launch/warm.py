"""The launcher's side of a nursery: processes that are forked where torch is imported already."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

SECONDS_TO_END = 10.0
"""How long a nursery may take to end once nobody asks it for anything."""


def possible() -> bool:
    """Whether a process that has imported torch may be forked here: macOS's libraries say no."""
    return sys.platform == "linux"


class Nursery:
    """A process of `harness.train.nursery`, and what it has told of those that it forked."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        """`log` gets what it says if it fails before it forks anything."""
        self._codes: dict[int, int] = {}
        self._started = 0
        self._rest = b""
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.train.nursery", str(os.getpid())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
                env=dict(environment), start_new_session=True,
            )  # fmt: skip

    @property
    def lives(self) -> bool:
        """Whether it can be asked for more."""
        return self._process.poll() is None

    def start(self, job: Path, log: Path) -> Forked:
        """A process for the job in that file; what it says goes to `log`."""
        self._started += 1
        self._ask({"start": self._started, "job": str(job), "log": str(log)})
        return Forked(self, self._started)

    def send(self, number: int, to: int) -> None:
        """A signal to a process that it forked, if that one lives."""
        self._ask({"signal": number, "to": to})

    def code_of(self, number: int, wait: float = 0.0) -> int | None:
        """The exit code of a process, which is waited for as long; None while it lives.

        Where the nursery itself died, its processes get a signal and end: its own code is theirs.
        """
        self._read(wait)
        if number not in self._codes and not self.lives:
            self._read(0.0)  # what it told last
            return self._codes.get(number, self._process.returncode)
        return self._codes.get(number)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _ask(self, words: Mapping[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died: `code_of` says so
            self._pipe.write(json.dumps(words).encode() + b"\n")
            self._pipe.flush()

    def _read(self, wait: float) -> None:
        assert self._process.stdout is not None
        told = self._process.stdout.fileno()
        while select.select([told], [], [], wait)[0]:
            read = os.read(told, 65536)
            if not read:
                return
            *lines, self._rest = (self._rest + read).split(b"\n")
            for answer in map(json.loads, lines):
                self._codes[answer["ended"]] = answer["code"]
            wait = 0.0


class Forked:
    """A process that a nursery forked, as `subprocess.Popen` would show it."""

    def __init__(self, nursery: Nursery, number: int) -> None:
        """`number` is what the nursery knows it by."""
        self._nursery, self._number = nursery, number
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it lives."""
        if self.returncode is None:
            self.returncode = self._nursery.code_of(self._number)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, when it has ended. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
            if timeout is not None and left <= 0:
                raise subprocess.TimeoutExpired("harness.train", timeout)
            self.returncode = self._nursery.code_of(self._number, left)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        self._nursery.send(number, self._number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)
