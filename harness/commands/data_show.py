"""`smol data show`: what a prepared folder holds, as a person reads it.

A wrong mask is seen here before anything is trained on it: in each row what is learnt stands apart
from what is only read.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.data import checked, left_out
from harness.data.adopted import open_folder
from harness.data.manifest import UNKNOWN, Prepared, describe
from harness.data.sealing import PREPARATION
from harness.errors import RequestError
from harness.files import JSON_BYTES, read_json, read_regular
from harness.launch import terminal

SPLITS = ("train", "validation")
_REPEATS = 4
"""The number of equal tokens in a row from which they are said once, with how often."""
_COLOURS = "\x1b[32m", "\x1b[0m"
_MARKS = "«", "»"

Piece = tuple[str, bool]
"""Text, and whether it is a target."""


@dataclass(frozen=True)
class Options:
    """Show what a prepared folder holds.

    A few rows are decoded, with what is learnt in green (between « and » where there are no
    colours), and what was left out is counted by its reason.
    """

    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A prepared folder, ours or any that `datasets` saved."),
    ]
    rows: Annotated[
        int, typer.Option("--rows", min=0, help="How many rows to show, spread over the folder.")
    ] = 2
    split: Annotated[str, typer.Option("--split", help="train or validation.")] = "train"
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            help="What a folder without a tokenizer was tokenized with: smollm2, or a folder.",
        ),
    ] = None


def data_show(options: Options) -> None:
    """Print the manifest, what was left out, and rows. Raises RequestError."""
    if options.split not in SPLITS:
        raise RequestError(f"no split '{options.split}'; known: {', '.join(SPLITS)}")
    prepared = open_folder(options.folder, tokenizer=options.tokenizer, progress=terminal.lines)
    checked.check(prepared)  # what is shown is what would be trained on
    terminal.lines(describe(prepared.manifest))
    for line in _left_out(prepared.folder):
        terminal.lines(line)
    for line in _rows(prepared, options.split, options.rows, _marks()):
        print(line)


def _left_out(folder: Path) -> Iterator[str]:
    """A line a source, from what the preparation counted and from its list."""
    found: dict[str, Counter[str]] = {}
    listed = folder / left_out.FILE
    text = read_regular(listed, JSON_BYTES).decode("utf-8") if listed.is_file() else ""
    for line in text.splitlines():
        entry = json.loads(line)
        found.setdefault(entry["source"], Counter())[entry["why"]] += 1
    for source in _preparation(folder).get("sources", ()):
        counts = found.setdefault(source["name"], Counter())
        for why, number in source.get("left_out", {}).items():  # those that are listed, too
            counts[why] = number
        if empty := source.get("rows_without_text"):
            counts["rows without text"] = empty
    for name, counts in found.items():
        if counts:
            where = f"; {left_out.FILE} lists rows" if listed.is_file() else ""
            yield f"left out of {name}: {left_out.reasons(counts)}{where}"


def _preparation(folder: Path) -> dict[str, Any]:
    path = folder / PREPARATION
    try:
        return dict(read_json(path)) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise RequestError(f"{path} says nothing of a preparation ({error})") from None


def _marks() -> tuple[str, str]:
    """What stands before and behind targets."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return _MARKS if plain or not sys.stdout.isatty() else _COLOURS


def _rows(prepared: Prepared, name: str, count: int, marks: tuple[str, str]) -> Iterator[str]:
    import numpy as np

    from harness.data.batches import IGNORED, read_split

    split = read_split(prepared.folder, name)
    write = _writer(prepared)
    for row in sorted({i * split.rows // count for i in range(count)}):
        tokens = split.take("input_ids", np.array([row]))[0]
        targets = np.ones(len(tokens), dtype=bool)
        if "labels" in split.names:
            targets = split.take("labels", np.array([row]))[0] != IGNORED
        learnt = targets.mean()
        yield f"\n{name} row {row:,} of {split.rows:,}, {100 * learnt:.0f} % of its tokens learnt:"
        pieces = list(write(tokens.tolist(), targets.tolist()))
        yield "".join(_marked(pieces, marks)) if learnt < 1.0 else "".join(t for t, _ in pieces)


def _marked(pieces: Sequence[Piece], marks: tuple[str, str]) -> Iterator[str]:
    for target, many in groupby(pieces, key=lambda piece: piece[1]):
        text = "".join(one for one, _ in many)
        yield f"{marks[0]}{text}{marks[1]}" if target else text


def _writer(prepared: Prepared) -> Callable[[list[int], list[bool]], Iterator[Piece]]:
    """What turns tokens into text, special tokens by their names; without a tokenizer, into
    numbers."""
    if prepared.manifest.tokenizer_digest == UNKNOWN:
        return lambda tokens, targets: _pieces(tokens, targets, lambda token: f" {token}")
    from harness.data import tokenizer
    from harness.data.pieces import Pieces

    fitted = tokenizer.load(prepared.folder)
    special = {i: t.content for i, t in fitted.get_added_tokens_decoder().items() if t.special}

    def write(tokens: list[int], targets: list[bool]) -> Iterator[Piece]:
        pieces = Pieces(fitted)
        return _pieces(tokens, targets, lambda token: special.get(token) or pieces.push(token))

    return write


def _pieces(tokens: list[int], targets: list[bool], text: Callable[[int], str]) -> Iterator[Piece]:
    for (token, target), run in groupby(zip(tokens, targets, strict=True)):
        count = len(list(run))
        if count >= _REPEATS:
            yield f"{text(token)}(x {count})", target
        else:
            for _ in range(count):
                yield text(token), target
