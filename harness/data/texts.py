"""Named sets of whole documents to score a model on, whatever its tokenizer.

A set's digest is that of its text: two scores are of the same text only where it is equal. The
standard library's sets differ from one Python version to the next, and their digests say so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config import Source
from harness.data.units import TextUnit
from harness.errors import RequestError, nearest


@dataclass(frozen=True)
class Document:
    """A document that is scored as a whole."""

    name: str
    text: str

    @property
    def size(self) -> int:
        """UTF-8 bytes."""
        return len(self.text.encode())


@dataclass(frozen=True)
class TextSet:
    """Documents, in order."""

    name: str
    documents: tuple[Document, ...]

    @property
    def digest(self) -> str:
        """The digest of the text; names do not count."""
        whole = hashlib.sha256()
        for document in self.documents:
            data = document.text.encode()
            whole.update(f"{len(data)} ".encode() + data)
        return whole.hexdigest()


def _topics() -> list[TextUnit]:
    from harness.data.sources import stdlib

    return [unit for unit in stdlib.prose() if unit.name.startswith("topic:")]


def _docstrings() -> list[TextUnit]:
    from harness.data.sources import stdlib

    return [unit for unit in stdlib.prose() if not unit.name.startswith("topic:")]


_BUILT_IN: Mapping[str, Callable[[], list[TextUnit]]] = {
    "stdlib-topics": _topics,
    "stdlib-prose": _docstrings,
}
_HELD_OUT = "heldout-"
SCALES = ("smoke", "proxy", "full")
NAMES = (*_BUILT_IN, *(f"{_HELD_OUT}{scale}" for scale in SCALES))
"""`stdlib-topics`: the language reference's topics; `stdlib-prose`: the docstrings of the standard
library, a document a module; `heldout-<scale>`: the validation documents of that scale's data."""


def named(name: str) -> TextSet:
    """A set by its name. Raises RequestError for an unknown one, or one that cannot be read."""
    if name.startswith(_HELD_OUT) and name in NAMES:
        return _held_out(name.removeprefix(_HELD_OUT))
    if name not in _BUILT_IN:
        raise RequestError(f"no text '{name}'{nearest(name, NAMES)}")
    return _set(name, _BUILT_IN[name]())


def from_files(paths: Sequence[Path]) -> TextSet:
    """Files of text, jsonl, JSON, CSV and parquet, and all such files of folders: a document a file
    or row. Raises RequestError."""
    from harness.data import rows
    from harness.data.sources.tables import Files

    for path in paths:
        if not path.exists():
            raise RequestError(f"no text '{path}'{nearest(str(path), NAMES)}")
    inside = (rows.inside(path, None)[0] if path.is_dir() else [] for path in paths)
    files = [str(one) for path, many in zip(paths, inside, strict=True) for one in many or [path]]
    source = Source(name="text", kind="files", share=1.0, paths=tuple(files))
    return _set("+".join(path.stem for path in paths), Files(source).read())


def _set(name: str, units: Sequence[TextUnit]) -> TextSet:
    # Half surrogates stand in a few modules' strings; UTF-8 has no form for them.
    texts = ((unit.name, unit.text.encode(errors="ignore").decode()) for unit in units)
    documents = tuple(Document(unit, text) for unit, text in texts if text.strip())
    if not documents:
        raise RequestError(f"text '{name}' is empty")
    return TextSet(name, documents)


def _held_out(scale: str) -> TextSet:
    """The validation documents of a scale's own data, back from their tokens: byte-level BPE
    loses nothing. The last one may be cut where the last row ends."""
    import numpy as np

    from harness import presets
    from harness.data import tokenizer
    from harness.data.batches import read_validation
    from harness.data.pieces import Pieces
    from harness.data.prepare import find_prepared
    from harness.data.tokens import END_OF_TEXT

    prepared = find_prepared(presets.run(scale).data)
    if prepared is None:
        raise RequestError(
            f"the data of scale '{scale}' is not prepared here; "
            f"`smol run dense_vs_moe --scale {scale}` prepares it"
        )
    fitted = tokenizer.load(prepared.folder)
    end = fitted.token_to_id(END_OF_TEXT)
    rows = read_validation(prepared.folder)
    tokens, documents = rows.tokens.ravel(), rows.documents.ravel()
    borders = np.flatnonzero(np.diff(documents)) + 1
    units = []
    for i, part in enumerate(np.split(tokens, borders)):
        pieces = Pieces(fitted)
        text = "".join(pieces.push(token) for token in part.tolist() if token != end)
        units.append(TextUnit(f"heldout:{i}", text))  # an open character at a cut is left out
    return _set(f"{_HELD_OUT}{scale}", units)
