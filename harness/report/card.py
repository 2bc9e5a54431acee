"""The model card: `<results>/MODEL_CARD.md` with `cells.json`, from records alone, and its check.

Nothing in the card is typed by hand, and nothing in it depends on when it is rendered. May not
import torch; draws only where a figure is not fresh.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from harness.errors import RequestError
from harness.files import write_atomically
from harness.records import store
from harness.report import cells, document, fresh
from harness.report.document import Document
from harness.report.draw import Shown

CARD = "MODEL_CARD.md"
LINES = 12
WIDTH = 300
"""What is shown of a difference in `cells.json`: lines, and characters of each."""


def render(results: Path) -> str:
    """The whole text of the card. Raises RequestError for a broken records folder."""
    return _made(results).text


def _made(results: Path) -> Document:
    return document.build(document.read(results))


def _texts(made: Document) -> dict[str, str]:
    """File -> what it should hold."""
    return {CARD: made.text, cells.FILE: cells.to_json(made.index)}


def _figures(made: Document) -> dict[str, Shown]:
    return {figure.file: figure.data for figure in made.figures}


def regenerate(results: Path) -> list[Path]:
    """Write the card, its cells, and the figures that are not fresh. Returns what was written.

    Raises RequestError for a broken records folder or one that cannot be written.
    """
    made = _made(results)
    store.check_writable(results)
    try:
        written = fresh.refresh(results, _figures(made))
        for name, text in reversed(_texts(made).items()):
            path = results / name
            if not path.is_file() or path.read_bytes() != text.encode():
                write_atomically(path, text)
                written.insert(0, path)
    except OSError as error:
        raise RequestError(f"the card in '{results}' cannot be written: {error.strerror}") from None
    return written


def check(results: Path) -> str | None:
    """None where card, cells and figures are what the records say; else the differences, as text.

    Raises RequestError for a broken records folder.
    """
    made = _made(results)
    parts = [_difference(results / name, text) for name, text in _texts(made).items()]
    wrong = fresh.faults(results, _figures(made))
    parts += [f"{fresh.FOLDER}/{name}: {fault}" for name, fault in wrong.items()]
    return "\n".join(part for part in parts if part) or None


def _difference(path: Path, expected: str) -> str:
    """What a file and its expected text differ in; empty where they do not."""
    if not path.is_file():
        return f"{path.name} is missing"
    actual = path.read_bytes()
    if actual == expected.encode():
        return ""
    context = 0 if path.name == cells.FILE else 1
    diff = list(
        difflib.unified_diff(
            actual.decode("utf-8", errors="replace").splitlines(), expected.splitlines(),
            f"{path.name} (as it is)", f"{path.name} (as the records say)", lineterm="", n=context,
        )
    )  # fmt: skip
    if path.name == cells.FILE:  # what a reader sees is the card's difference; this repeats it
        shown = [line if len(line) <= WIDTH else f"{line[:WIDTH]} ..." for line in diff[:LINES]]
        more = len(diff) - len(shown)
        diff = [*shown, *([f"... and {more} lines more"] if more else [])]
    return "\n".join(diff) or f"{path.name} differs in its line ends"
