"""Units of text, the split by unit, and what is done to their paragraphs.

A unit is whatever shares text: a module with its docstrings, a service with all its versions, a
row of a file. It stands on one side of the split. Pure; may not read files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

DOCUMENT_CHARS = 4096
"""Long units are cut at paragraph borders into documents of about this many characters, so that
shares and the validation set can be exact to a few thousand tokens, and no one module fills it."""

LEAK_WORDS = 8
"""Paragraphs from this many words up may not repeat: shorter ones are headings and idioms."""


@dataclass(frozen=True)
class TextUnit:
    """What shares text, by name, and its text."""

    name: str
    """Equal for all the text that must stay on one side, whatever source it comes from."""
    text: str
    repeated: int = 0
    """Paragraphs that its reader already left out because they repeat."""


def held_out(split_seed: int, name: str, fraction: float) -> bool:
    """Whether a unit belongs to validation: a hash of seed and name, so other units do not
    matter."""
    hashed = hashlib.sha256(f"{split_seed}\0{name}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") < fraction * 2**64


STRETCHES = 16
"""What is held out of one long text, or of rows, lies in at most this many stretches."""
_STRETCH_PARTS = 4


def stretches(parts: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """(train, validation): which of `parts` consecutive parts stand on each side, ascending.

    `wanted` of them, in whole stretches that are spread evenly; the part on either side of a
    stretch is in neither, since the text goes on from one part to the next. Raises ValueError for
    too few parts.
    """
    many = max(1, min(STRETCHES, wanted // _STRETCH_PARTS))
    if parts < wanted + 2 * many + 1:
        raise ValueError(f"{parts} are too few")
    side = np.zeros(parts, dtype=np.int8)
    for i in range(many):
        length = wanted * (i + 1) // many - wanted * i // many
        first = (2 * i + 1) * parts // (2 * many) - length // 2
        side[first - 1 : first + length + 1] = 2
        side[first : first + length] = 1
    return np.flatnonzero(side == 0), np.flatnonzero(side == 1)


_BORDER = re.compile(r"(\n(?:[ \t\r\f]*\n)+)")


def paragraph_key(paragraph: str) -> str:
    """What makes two paragraphs the same: their words, however they are spaced."""
    return " ".join(paragraph.split())


class Paragraphs:
    """Remembers paragraphs and drops the ones that it has seen.

    Text is compared by paragraphs of at least `LEAK_WORDS` words, spacing aside.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.dropped = 0

    def remember(self, text: str) -> None:
        """Mark a text's paragraphs as seen."""
        self._seen.update(key for _, key in _keyed(_BORDER.split(text)) if _long(key))

    def unseen(self, text: str) -> str:
        """The text less the paragraphs that were seen; what is left counts as seen from then."""
        return self._filter(text, remember=True)

    def unleaked(self, text: str) -> str:
        """The text less the paragraphs that were seen, marking nothing."""
        return self._filter(text, remember=False)

    def _filter(self, text: str, *, remember: bool) -> str:
        parts = _BORDER.split(text)
        kept: list[str] = []
        dropped = 0
        for index, key in _keyed(parts):
            if _long(key):
                if key in self._seen:
                    dropped += 1
                    continue
                if remember:
                    self._seen.add(key)
            kept += parts[index : index + 2]  # the paragraph and the border after it
        self.dropped += dropped
        return "".join(kept).strip("\n") if dropped else text


def _keyed(parts: Sequence[str]) -> Iterable[tuple[int, str]]:
    return ((i, paragraph_key(parts[i])) for i in range(0, len(parts), 2))


def _long(key: str) -> bool:
    return key.count(" ") >= LEAK_WORDS - 1


def cut(text: str, size: int = DOCUMENT_CHARS) -> list[str]:
    """A text in parts of at most `size` characters, at paragraph borders where its paragraphs
    are short enough and at line ends where not; only white space between parts is lost."""
    if len(text) <= size:
        return [text] if text.strip() else []
    documents: list[str] = []
    current = ""
    parts = _BORDER.split(text)
    for i in range(0, len(parts), 2):
        border = parts[i + 1] if i + 1 < len(parts) else ""
        fits = len(parts[i]) <= size
        for piece in [parts[i] + border] if fits else [*parts[i].splitlines(True), border]:
            if current and len(current) + len(piece.rstrip()) > size:
                documents.append(current.rstrip())
                current = ""
            current += piece
    documents.append(current.rstrip())
    return [document for document in documents if document.strip()]
