"""Where a preparation stands, in one file: enough to go on without repeating or losing a document.

Written only together with a finished block of rows, so it never speaks of more than is on disk.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.batches import UNREADABLE
from harness.data.left_out import LeftOut
from harness.errors import RequestError

STATE = "state.npz"


@dataclass
class SourceState:
    """What was taken of one source so far."""

    position: dict[str, Any] | None = None
    """Where the batch begins in which the next document stands; None at the beginning."""
    skip: int = 0
    """Rows of that batch that are done."""
    taken: int = 0
    """Training tokens, whole documents; decides whose turn it is."""
    documents: int = 0
    written_tokens: int = 0
    """How many tokens the rows hold that were written."""
    written_bytes: int = 0
    held_documents: int = 0
    """Held out, also those that validation had no room for."""
    val_taken: int = 0
    empty: int = 0
    """Rows without text."""
    left_out: list[list[str]] = field(default_factory=list)
    """[place, why] of each row whose value is no text."""
    text_digest: str = ""
    """SHA-256 chained over the documents' own, in the order read."""

    @property
    def entries(self) -> list[LeftOut]:
        """The rows that were left out."""
        return [LeftOut(place, why) for place, why in self.left_out]

    @property
    def rows(self) -> int:
        """All that were read."""
        return self.documents + self.held_documents + self.empty + len(self.left_out)


@dataclass
class State:
    """All of it."""

    sources: list[SourceState]
    counts: np.ndarray
    """(vocabulary,) int64: of the training tokens in rows."""
    blocks: int = 0
    """Files of rows written."""
    exhausted: bool = False
    """A source had no more when its turn came."""
    carry: list[tuple[int, np.ndarray]] = field(default_factory=list)
    """(source, tokens) that do not fill a block yet."""
    val: list[tuple[int, np.ndarray]] = field(default_factory=list)
    """(source, tokens) of each validation document."""

    @property
    def taken(self) -> int:
        """Training tokens of all sources."""
        return sum(source.taken for source in self.sources)

    def save(self, folder: Path) -> None:
        """Atomically, on the disk when this returns."""
        plain = {
            "sources": [vars(source) for source in self.sources],
            "blocks": self.blocks,
            "exhausted": self.exhausted,
        }
        arrays = {
            "plain": np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8),
            "counts": self.counts,
            **_flat("carry", self.carry),
            **_flat("val", self.val),
        }
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        temporary = folder / f".{STATE}.tmp"
        with temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / STATE)


def load(folder: Path) -> State | None:
    """The state that was saved there, if any. Raises RequestError for one that is damaged."""
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            plain = json.loads(arrays["plain"].tobytes())
            return State(
                sources=[SourceState(**source) for source in plain["sources"]],
                counts=arrays["counts"],
                blocks=plain["blocks"],
                exhausted=plain["exhausted"],
                carry=_unflat("carry", arrays),
                val=_unflat("val", arrays),
            )
    except (*UNREADABLE, KeyError, zipfile.BadZipFile) as error:
        raise RequestError(
            f"{path} is damaged ({error}); delete {folder} and start again"
        ) from None


def _flat(name: str, parts: list[tuple[int, np.ndarray]]) -> dict[str, np.ndarray]:
    tokens = [ids for _, ids in parts]
    return {
        f"{name}_sources": np.array([source for source, _ in parts], dtype=np.int64),
        f"{name}_lengths": np.array([len(ids) for ids in tokens], dtype=np.int64),
        f"{name}_tokens": np.concatenate(tokens) if tokens else np.empty(0, dtype=np.int32),
    }


def _unflat(name: str, arrays: Any) -> list[tuple[int, np.ndarray]]:
    ends = np.cumsum(arrays[f"{name}_lengths"])
    parts = np.split(arrays[f"{name}_tokens"], ends[:-1]) if len(ends) else []
    return list(zip(arrays[f"{name}_sources"].tolist(), parts, strict=True))
