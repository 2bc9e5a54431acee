"""Asking another program something, whatever it does: it may hang inside a driver, where no signal
reaches it, say what is no text, or never stop saying it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

MOST_BYTES = 1_000_000
"""Of each stream: a program that says more is left blocked until its time is over."""
GRACE_SECONDS = 1.0
"""How long a killed program may take to go, and an ended one's children to leave its streams."""


class ProgramSaid(NamedTuple):
    """What a program that has ended in time said, its bytes that are no UTF-8 replaced."""

    code: int
    """As `subprocess` has it: negative for a signal."""
    out: str
    error: str


def ask(
    words: Sequence[str], seconds: float, env: Mapping[str, str] | None = None
) -> ProgramSaid | None:
    """Run a program without input; None where it has not ended after so many seconds.

    It is killed then, with what it started, and not waited for beyond a second: what hangs in a
    driver cannot be ended by anybody. Raises OSError where it cannot be started.
    """
    process = subprocess.Popen(
        words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [_Reader(process.stdout), _Reader(process.stderr)]
    try:
        code = process.wait(seconds)
    except BaseException as error:  # of the time limit, or of the user, who is waiting
        _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            return None
        raise
    out, text = (reader.text() for reader in readers)
    return ProgramSaid(code, out, text)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
    else:
        process.kill()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.returncode = -signal.SIGKILL if os.name == "posix" else 1  # given up: no warning


class _Reader(threading.Thread):
    """Takes what comes, in a thread that nobody has to wait for."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream, self._found = stream, bytearray()
        self.start()

    def run(self) -> None:
        while len(self._found) < MOST_BYTES:
            piece = os.read(self._stream.fileno(), 65_536)
            if not piece:
                break
            self._found += piece

    def text(self) -> str:
        self.join(GRACE_SECONDS)
        return bytes(self._found).decode("utf-8", errors="replace")
