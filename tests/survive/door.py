"""`smol` called in this process: what it said, how it ended, and what it changed."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
import time
import traceback
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from harness import cli

CODES = {0, 1, 2, 3, 130}
SECONDS = 30.0


@dataclass
class Said:
    code: int | None
    """None where something was raised that the door does not know."""
    out: str
    err: str
    seconds: float
    """Of this process's CPU: what a busy machine takes is nobody's fault."""
    waited: float
    changed: bool
    """Whether a file below the folder is another than before."""
    words: tuple[str, ...] = ()

    def faults(self) -> list[str]:
        """What breaks the contract of the door."""
        found = []
        whole = self.out + self.err
        if self.code not in CODES or "Traceback" in whole:
            found.append(f"exit {self.code}: {whole[-1500:]}")
        if self.code == 2 and self.changed:
            found.append("exit 2, and something was changed on disk")
        if self.code in (2, 3) and sum(map(_is_ours, self.err.splitlines())) != 1:
            found.append(f"exit {self.code} without one clear line: {self.err[-600:]!r}")
        if len(self.err) > 6000:
            found.append(f"{len(self.err)} characters of error: {self.err[:300]!r}")
        if odd := sorted({c for c in whole if _is_control(c)}):
            found.append(f"control characters {odd!r} in {whole[:600]!r}")
        if self.seconds > SECONDS or self.waited > 10 * SECONDS:
            found.append(f"took {self.seconds:.0f} s of CPU, {self.waited:.0f} s in all")
        return [f"smol {' '.join(map(repr, self.words))}: {fault}" for fault in found]


def _is_ours(line: str) -> bool:
    return line.startswith("smol: ")


def _is_control(character: str) -> bool:
    return character not in "\n\t" and (
        unicodedata.category(character) == "Cc"
        or character in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


def state(folder: Path) -> dict[str, tuple[int, ...]]:
    """What stands below a folder: sizes, times, inodes."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(place, name)
            with contextlib.suppress(FileNotFoundError):
                at = os.lstat(path)
                size = -1 if name in folders else at.st_size
                found[path] = (size, at.st_mtime_ns if size >= 0 else 0, at.st_ino)
    return found


def smol(*words: str, at: Path) -> Said:
    """Call the door in `at`, which is watched."""
    before, folder, argv = state(at), Path.cwd(), sys.argv
    out, err = io.StringIO(), io.StringIO()
    code: int | None = None
    began, cpu = time.monotonic(), time.process_time()
    stdout = os.dup(1)
    freeze, gc.freeze = gc.freeze, lambda: None  # a short process may; this one goes on
    try:
        os.chdir(at)
        sys.argv = ["smol", *words]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                traceback.print_exc(file=err)
    finally:
        gc.freeze = freeze
        gc.enable()
        os.dup2(stdout, 1)
        os.close(stdout)
        sys.argv = argv
        os.chdir(folder)
    seconds, waited = time.process_time() - cpu, time.monotonic() - began
    said = err.getvalue() if not err.closed else ""
    return Said(code, out.getvalue(), said, seconds, waited, state(at) != before, words)
