"""What proves a checkpoint whole: a digest in the file itself, as the comment of its ZIP archive.

`torch.load` ignores that comment; without it most single flipped bytes would load in silence. May
not import torch: the launcher asks whether what a run starts from is whole.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import RequestError
from harness.files import read_regular
from harness.machine.hardware import memory_bytes

_MARK = b"sha256:"
_COMMENT = len(_MARK) + 64
_LENGTH_FIELD = 2
"""A ZIP file ends with the comment's length (2 bytes, little endian) and the comment."""


class Damaged(RequestError):
    """A checkpoint is not what was written."""


def close(body: bytes) -> bytes:
    """A ZIP archive without a comment, with its digest as the comment."""
    if body[-_LENGTH_FIELD:] != b"\0\0":
        raise RuntimeError("torch.save wrote a ZIP file with a comment: where does the digest go?")
    comment = _MARK + hashlib.sha256(body).hexdigest().encode()
    return body[:-_LENGTH_FIELD] + len(comment).to_bytes(_LENGTH_FIELD, "little") + comment


class Closing:
    """What `close` does, for an archive that is written piece by piece into a file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self._digest, self._last = file, hashlib.sha256(), b""

    def write(self, piece: Any) -> int:
        """Pass on all but the last bytes so far, which hold the length of a comment."""
        whole = memoryview(piece).cast("B")
        self._digest.update(whole)
        if len(whole) >= _LENGTH_FIELD:
            self.file.write(self._last)
            self.file.write(whole[:-_LENGTH_FIELD])
            self._last = bytes(whole[-_LENGTH_FIELD:])
        else:
            both = self._last + bytes(whole)
            self.file.write(both[:-_LENGTH_FIELD])
            self._last = both[-_LENGTH_FIELD:]
        return len(whole)

    def flush(self) -> None:
        """Nothing: the file is flushed when it is whole."""

    def end(self) -> None:
        """Write the digest as the archive's comment."""
        if self._last != b"\0\0":
            raise RuntimeError("torch.save wrote a ZIP file with a comment: where does it go?")
        comment = _MARK + self._digest.hexdigest().encode()
        self.file.write(len(comment).to_bytes(_LENGTH_FIELD, "little") + comment)


def read(path: Path) -> bytes:
    """The archive that `close` was given.

    Raises RequestError if there is none, Damaged if it is truncated, changed or not ours.
    """
    try:
        if not _marked(path):
            raise Damaged(f"checkpoint {path.name} is truncated, or was not written here")
        data = read_regular(path, memory_bytes())
    except FileNotFoundError:
        raise RequestError(f"no checkpoint {path.name} in {path.parent.name}") from None
    comment = data[-_COMMENT:]
    body = data[: -_COMMENT - _LENGTH_FIELD] + b"\0\0"
    if hashlib.sha256(body).hexdigest().encode() != comment[len(_MARK) :]:
        raise Damaged(f"checkpoint {path.name} is damaged: its digest does not match")
    return body


def _marked(path: Path) -> bool:
    """Whether a regular file ends with a digest. Looked at first: what does not is not read."""
    if not path.is_file():
        path.stat()  # raises where nothing is there
        return False
    with path.open("rb") as file:
        file.seek(-min(_COMMENT, path.stat().st_size), os.SEEK_END)
        return file.read().startswith(_MARK)


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that nothing trips over it again; where it is now."""
    place = path.with_name(f"{path.name}.damaged")
    os.replace(path, place)
    return place


def keep_whole(path: Path) -> str | None:
    """Set a checkpoint aside if it is damaged, and say so in one line; None where it is whole, or
    where there is none."""
    try:
        if path.exists():
            read(path)
    except Damaged as error:
        return f"{error}; it is {set_aside(path)} now"
    return None
