"""`<results>/MODEL_CARD.md`, its pages and `cells.json`, from records alone, and their check.

Nothing in the card is typed by hand, and nothing in it depends on when it is rendered. May not
import torch; draws only where a figure is not fresh.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from harness.errors import RequestError
from harness.files import is_file_of, read_regular, write_atomically
from harness.records import store
from harness.records.untrusted import without_controls
from harness.report import cells, fresh, inputs, pages
from harness.report.draw import Shown, Themed
from harness.report.pages import CARD as CARD
from harness.report.pages import FOLDER, MADE, Pages

MOST_BYTES = 64 * 10**6
"""A page that is larger is not compared line by line."""
LINES = 12
WIDTH = 300
"""What is shown of a difference in `cells.json`: lines, and characters of each."""


def render(results: Path) -> dict[str, str]:
    """The card and its pages, by file; the card first. Raises RequestError for a broken records
    folder."""
    return _made(results).texts


def _made(results: Path) -> Pages:
    return pages.build(inputs.read(results))


def _texts(made: Pages) -> dict[str, str]:
    """File -> what it should hold: the card, its cells, its pages."""
    first, *others = made.texts
    texts = {first: made.texts[first], cells.FILE: cells.to_json(made.index)}
    return texts | {name: made.texts[name] for name in others}


def _left_over(results: Path, made: Pages) -> list[Path]:
    """Pages that were made from records that are gone; what a stranger put there is his."""
    return [
        path
        for path in sorted((results / FOLDER).glob("*.md"))
        if f"{FOLDER}/{path.name}" not in made.texts
        and path.is_file()
        and _begins(path, MADE.encode())
    ]


def _begins(path: Path, words: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(words)) == words


def _figures(made: Pages) -> dict[str, Shown]:
    """File -> what it shows; a themed figure for a dark page too."""
    found = {figure.file: figure.data for figure in made.figures}
    dark = {
        f"{figure.name}.dark.png": figure.data.model_copy(update={"dark": True})
        for figure in made.figures if isinstance(figure.data, Themed)
    }  # fmt: skip
    return {**found, **dark}


def regenerate(results: Path) -> list[Path]:
    """Write the card, its pages and cells, and the figures that are not fresh; what was written.

    Raises RequestError for a broken records folder or one that cannot be written.
    """
    made = _made(results)
    cells.refuse_edited(results)
    store.check_writable(results)
    fresh.inside(results, FOLDER)
    try:
        written = fresh.refresh(results, _figures(made))
        for path in _left_over(results, made):
            path.unlink()
        for name, text in reversed(_texts(made).items()):
            path = results / name
            if not is_file_of(path, text.encode()):
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
    parts = [_difference(results, name, text) for name, text in _texts(made).items()]
    parts += [
        f"{FOLDER}/{path.name}: no page of these records; `smol card` removes it"
        for path in _left_over(results, made)
    ]
    wrong = fresh.faults(results, _figures(made))
    parts += [f"{fresh.FOLDER}/{name}: {fault}" for name, fault in wrong.items()]
    return "\n".join(part for part in parts if part) or None


def _difference(results: Path, name: str, expected: str) -> str:
    """What a file and its expected text differ in; empty where they do not."""
    path = results / name
    if not path.is_file():
        return f"{name} is missing"
    if is_file_of(path, expected.encode()):
        return ""
    try:
        actual = read_regular(path, MOST_BYTES)
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    context = 0 if name == cells.FILE else 1
    diff = list(
        difflib.unified_diff(
            actual.decode("utf-8", errors="replace").splitlines(), expected.splitlines(),
            f"{name} (as it is)", f"{name} (as the records say)", lineterm="", n=context,
        )
    )  # fmt: skip
    if name == cells.FILE:  # what a reader sees is the card's difference; this repeats it
        shown = [line if len(line) <= WIDTH else f"{line[:WIDTH]} ..." for line in diff[:LINES]]
        more = len(diff) - len(shown)
        diff = [*shown, *([f"... and {more} lines more"] if more else [])]
    # The file as it is may be anybody's.
    return "\n".join(map(without_controls, diff)) or f"{name} differs in its line ends"
