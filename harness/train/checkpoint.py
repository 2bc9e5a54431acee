"""Checkpoints: written atomically, proven whole by a digest, loaded without running code.

The digest stands in the file itself, as the ZIP comment that `torch.load` ignores: of single-byte
flips in a checkpoint most would otherwise load in silence.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from harness.errors import RequestError
from harness.files import write_atomically

_MARK = b"sha256:"
_COMMENT = len(_MARK) + 64
_LENGTH_FIELD = 2
"""A ZIP file ends with the comment's length (2 bytes, little endian) and the comment."""


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to `path`."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    body = buffer.getvalue()
    if body[-_LENGTH_FIELD:] != b"\0\0":
        raise RuntimeError("torch.save wrote a ZIP file with a comment: where does the digest go?")
    comment = _MARK + hashlib.sha256(body).hexdigest().encode()
    length = len(comment).to_bytes(_LENGTH_FIELD, "little")
    write_atomically(path, body[:-_LENGTH_FIELD] + length + comment)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises RequestError if it is missing, not ours, truncated or damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RequestError(f"no checkpoint {path.name} in {path.parent.name}") from None
    comment = data[-_COMMENT:]
    if not comment.startswith(_MARK):
        raise RequestError(f"checkpoint {path.name} is truncated, or was not written here")
    body = data[: -_COMMENT - _LENGTH_FIELD] + b"\0\0"
    if hashlib.sha256(body).hexdigest().encode() != comment[len(_MARK) :]:
        raise RequestError(f"checkpoint {path.name} is damaged: its digest does not match")
    content = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise RequestError(f"checkpoint {path.name} holds {type(content).__name__}, not a dict")
    return content
