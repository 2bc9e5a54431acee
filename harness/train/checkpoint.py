"""Checkpoints: written atomically, proven whole by a digest, loaded without running code.

The digest is `harness.train.seal`'s.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from harness.errors import RequestError
from harness.files import write_atomically
from harness.train import seal


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to `path`."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, seal.close(buffer.getvalue()))


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises RequestError if it is missing, Damaged if it is truncated, changed or not ours.
    """
    content = torch.load(io.BytesIO(seal.read(path)), map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise RequestError(f"checkpoint {path.name} holds {type(content).__name__}, not a dict")
    return content
