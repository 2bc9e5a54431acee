"""Figures on disk and `figures.json`, which tells whether they are what the records say.

A figure is fresh while the digest of its bytes, of its data and of the code that draws it are the
recorded ones; none of that needs drawing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.code.provenance import normal_form
from harness.config import Frozen
from harness.errors import RequestError
from harness.files import read_regular, write_atomically
from harness.machine.hardware import cores
from harness.report import draw
from harness.report.draw import Shown

FOLDER = "figures"
INDEX = "figures.json"
MOST_BYTES = 32 * 10**6
"""What a figure, and their index, may have."""


class Drawn(Frozen):
    """What a figure on disk was drawn from."""

    bytes_sha256: str
    data_digest: str
    code_digest: str


ALONE = 4
"""Figures below which a second process is not worth its start."""
_INDEX = TypeAdapter(dict[str, Drawn])


def code_digest(source: str) -> str:
    """The digest of drawing code's syntax: comments, docstrings and layout do not count."""
    return hashlib.sha256(normal_form(source).encode()).hexdigest()[:16]


@cache
def _code_of(kind: type[Shown]) -> str:
    """Of the room that draws; and of the file that brings the data, where it is a user's own."""
    files = sorted(Path(draw.__file__).parent.glob("*.py"))
    if not kind.__module__.startswith("harness."):
        files.append(Path(str(sys.modules[kind.__module__].__file__)))
    return code_digest("\n".join(file.read_text("utf-8") for file in files))


def _draw_all(figures: Sequence[Shown]) -> Iterator[bytes]:
    """Pictures in the order of their data, by as many processes as there are cores."""
    processes = min(cores(), len(figures) // ALONE)
    if processes < 2:
        yield from map(draw.picture, figures)
        return
    draw.load()  # copies of this process need not then
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        yield from pool.map(draw.picture, figures)


def faults(results: Path, wanted: Mapping[str, Shown]) -> dict[str, str]:
    """Figure (or index) -> what is wrong with it; empty where all is fresh. Draws nothing."""
    folder = results / FOLDER
    index = _read_index(folder)
    present = {path.name for path in folder.glob("*.png") if path.is_file()}
    found: dict[str, str] = {}
    for name, data in wanted.items():
        known = index.get(name)
        if name not in present:
            found[name] = "a folder in its place" if (folder / name).is_dir() else "missing"
        elif known is None:
            found[name] = f"not in {INDEX}"
        elif _sha256(_bytes_of(folder / name)) != known.bytes_sha256:
            found[name] = "replaced: its bytes are not those that were drawn"
        elif known.data_digest != data.digest:
            found[name] = "stale: the records say otherwise"
        elif known.code_digest != _code_of(type(data)):
            found[name] = "stale: the drawing code has changed"
    for name in sorted(present - set(wanted)):
        found[name] = "no figure of these records; remove it"
    if not found and (wanted or index) and set(index) != set(wanted):
        found[INDEX] = f"lists {', '.join(sorted(set(index) ^ set(wanted)))}, which is no figure"
    return found


def inside(results: Path, name: str) -> Path:
    """A folder of the results folder that is written to. Raises RequestError for a link."""
    folder = results / name
    if folder.resolve() != results.resolve() / name:
        raise RequestError(f"{folder} is a link to elsewhere: {name} are written beside the card")
    return folder


def _bytes_of(path: Path) -> bytes:
    """A figure's; none of what is no regular file, or larger than any."""
    try:
        return read_regular(path, MOST_BYTES)
    except OSError:
        return b""


def refresh(results: Path, wanted: Mapping[str, Shown]) -> list[Path]:
    """Draw what is not fresh, remove what was drawn from records that are gone, write the index.

    Returns the paths written. A picture that was not drawn here is left for its owner to remove.
    Raises RequestError for what would be written or removed outside of the results folder: names
    come from records, and links with a folder that somebody sent.
    """
    folder = inside(results, FOLDER)
    for name in wanted:
        if name != Path(name).name or "\\" in name:
            raise RequestError(f"'{name}' cannot name a figure: it names another folder")
    wrong = faults(results, wanted)
    before = _read_index(folder)
    index = {name: drawn for name, drawn in before.items() if name in wanted}
    written = []
    made = _draw_all([wanted[name] for name in wrong if name in wanted])
    for name in wrong:
        if name in wanted:
            data = next(made)
            write_atomically(folder / name, data)
            index[name] = Drawn(
                bytes_sha256=_sha256(data),
                data_digest=wanted[name].digest,
                code_digest=_code_of(type(wanted[name])),
            )
            written.append(folder / name)
        elif name in before:
            (folder / name).unlink()
    if index != before:
        content = {name: index[name].model_dump() for name in sorted(index)}
        write_atomically(folder / INDEX, json.dumps(content, indent=1) + "\n")
        written.append(folder / INDEX)
    return written


def _read_index(folder: Path) -> dict[str, Drawn]:
    """The index; empty where there is none that can be read, so that all figures are faults."""
    try:
        return _INDEX.validate_json(read_regular(folder / INDEX, MOST_BYTES))
    except (OSError, ValidationError):
        return {}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
