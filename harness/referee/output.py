"""What a script prints, kept within bounds, and made fit for a record."""

from __future__ import annotations

import platform
import re
from pathlib import Path

HEAD_BYTES = 64 * 2**10
TAIL_BYTES = 2 * 2**20
"""A gigabyte of output costs this much memory; results stand at its end."""
RECORD_CHARACTERS = 4_000

_ABSOLUTE = re.compile(r"(?<![\w:/.~])/(?:[^\s/'\":,;()<>\[\]]+/)+")


class Bounded:
    """The beginning and the end of a stream of any length."""

    def __init__(self) -> None:
        """Empty."""
        self.total = 0
        """Bytes fed."""
        self._head = bytearray()
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the stream's next bytes."""
        self.total += len(chunk)
        room = HEAD_BYTES - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if len(self._tail) > 2 * TAIL_BYTES:  # trimmed seldom, so that feeding stays linear
            del self._tail[:-TAIL_BYTES]

    def text(self) -> str:
        """What was kept, with a line for what was not."""
        tail = bytes(self._tail[-TAIL_BYTES:])
        missing = self.total - len(self._head) - len(tail)
        gap = f"\n[{missing} bytes left out]\n".encode() if missing else b""
        return (bytes(self._head) + gap + tail).decode("utf-8", errors="replace")


def for_record(text: str, folder: Path) -> str:
    """The end of an output without this machine: the run's folder is `.`, of other absolute paths
    the last part is left."""
    end = anonymous(text[-2 * RECORD_CHARACTERS :], folder)[-RECORD_CHARACTERS:]
    return "".join(c for c in end if c.isprintable() or c in "\n\t")


def anonymous(text: str, folder: Path | None = None) -> str:
    """A text without absolute paths, and so without the names of users, and without the host's."""
    if folder is not None:
        for place in {str(folder), str(folder.resolve())}:
            text = text.replace(place, ".")
    home, host = str(Path.home()), platform.node()
    if len(home) > 1:
        text = text.replace(home, "~")
    if len(host) > 3 and host != "localhost":
        text = text.replace(host, "HOST")
    return _ABSOLUTE.sub("…/", text)


_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:: .*)?$")
"""How an error begins below a traceback: its message may go on over further lines."""
AFTER_ERROR = 20
"""Lines below an error that may still be its own."""


def last_line(text: str) -> str:
    """The last line that says something, shortened; of an error of several lines, the first."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    told = lines[-1:]
    if starts:
        after = [line for line in lines[starts[-1] + 1 :] if not line[0].isspace()]
        if after and _RAISED.match(after[0]) and len(after) <= AFTER_ERROR:
            told = after[:1]
    return " ".join(told[0].split())[-300:] if told else "it said nothing"


def duration(seconds: float) -> str:
    """As people say it: 0.2 s, 45 s, 12 min, 3.5 h."""
    if seconds < 90.0:
        return f"{seconds:.1f} s" if seconds < 10.0 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400.0 else f"{seconds / 3600:.1f} h"
