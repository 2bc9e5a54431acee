"""The kinds `files`, `spans` and `hub`: texts or conversations in files of this machine (.txt,
.jsonl, .json, .csv, .parquet), or in a data set of the Hub.

A document of a file is one text file or one row. Its unit is the digest of its text, so equal
documents stand on the same side of the split, and moving or renaming files changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.config import Source
from harness.data import hub, rows
from harness.data.hub import DataTable
from harness.data.left_out import Refused, text_fault
from harness.data.sources import Kind
from harness.data.streams import BATCH_ROWS, Position, SourceBatch, Stream
from harness.data.units import TextUnit, stretches
from harness.errors import RequestError


class _Tables(Kind):
    """What can be streamed as a table: a column of rows, in files or on the Hub."""

    holds = frozenset({"text", "chat"})
    table: DataTable

    @property
    def column(self) -> str:
        """The column of the texts or, unless another is named, of the conversations."""
        named = self.source.text_column
        return "messages" if self.chat and named == "text" else named

    def asked(self) -> Any:
        return asdict(self.table)

    def stream(self, seed: int, revision: str | None = None) -> Stream:
        pinned = replace(self.table, revision=revision)
        _say_passed_over(self)

        def batches(start: Position | None) -> Iterator[SourceBatch]:
            return hub.batches(pinned, seed, rows=BATCH_ROWS, progress=self.progress, start=start)

        source = self.source
        origin = (
            f"{source.name} in local files" if pinned.local
            else f"{pinned.label}/{pinned.split} at {pinned.revision}"
        )  # fmt: skip
        return Stream(source.name, source.kind, source.share, origin, batches, pinned.column)


def _say_passed_over(kind: _Tables) -> None:
    for given in kind.source.paths:
        folder = Path(given).expanduser()
        if folder.is_dir():
            _, others = rows.inside(folder, kind.table.split, kind.table.subset)
            if others:
                kind.progress(f"{given}: files that are passed over: {others}")


class Hub(_Tables):
    """A data set of the Hub, streamed; its subset is the source's name."""

    name = "hub"
    names_dataset = True
    streams = True

    def __init__(self, source: Source, **how: Any) -> None:
        super().__init__(source, **how)
        self.table = DataTable(source.dataset, source.name, "train", self.column)

    def fingerprint(self) -> str:
        return ""  # once prepared it stays: its manifest tells the commit that was read

    def revision(self) -> str | None:
        return hub.pin(self.table, self.progress).revision

    def read(self) -> list[Any]:
        raise RequestError(f"source '{self.source.name}': the Hub's data sets are streamed")


def of_table(table: DataTable, share: float, progress: Any, *, chat: bool = False) -> _Tables:
    """A table, in files or on the Hub, as a source of texts or of conversations."""
    if table.local:
        fields: dict[str, Any] = {"kind": "files", "paths": (table.dataset,)}
    else:
        fields = {"kind": "hub", "dataset": table.dataset}
    source = Source(name=table.name, share=share, text_column=table.column, **fields)
    made: _Tables = (Files if table.local else Hub)(source, chat=chat, progress=progress)
    made.table = table
    return made


class Files(_Tables):
    """Files of this machine, and folders of them."""

    name = "files"

    def __init__(self, source: Source, **how: Any) -> None:
        super().__init__(source, **how)
        if self.chat and len(source.paths) != 1:
            raise RequestError(f"source '{source.name}': one file or folder of conversations")
        self.table = DataTable("".join(source.paths[:1]), None, "train", self.column)

    def fingerprint(self) -> str:
        """Changes when the files' content, number or order does. Raises RequestError."""
        whole = hashlib.sha256()
        for path in listing(self.source):
            try:
                with path.open("rb") as file:
                    one = hashlib.file_digest(file, "sha256").hexdigest()
                whole.update(f"{path.suffix} {path.stat().st_size} {one}\n".encode())
            except OSError as error:
                raise RequestError(
                    f"source '{self.source.name}': {path}: cannot be read: {error.strerror}"
                ) from None
        return whole.hexdigest()

    def read(self) -> list[TextUnit]:
        """The documents, in the order of paths, files and rows; empty ones are left out.

        Raises RequestError naming the file, and the row where there is one: a specification's
        sources have no place for a list of what was left out.
        """
        units = []
        _say_passed_over(self)
        for path in listing(self.source):
            try:
                for row in rows.read(path, self.source.text_column):
                    text, where = row.value, f"{row.where}: " if row.where else ""
                    if isinstance(text, rows.Absent):
                        raise RequestError(f"{path}: {where}{text}")
                    if isinstance(text, Refused):
                        raise RequestError(f"{path}: {where}{text.why} ({text.detail})")
                    if fault := text_fault(text):
                        raise RequestError(f"{path}: {where}'{self.source.text_column}' is {fault}")
                    if text is not None and text.strip():
                        units.append(TextUnit(hashlib.sha256(text.encode()).hexdigest(), text))
            except RequestError as error:
                raise RequestError(f"source '{self.source.name}': {error}") from None
        return units


SPAN = 512
"""Characters of a text that stand on one side of the split."""
FEW = 100
"""The number of documents below which a share of them is too coarse, or empty: they are cut into
spans."""


class Spans(Files):
    """Files of which there are few, such as one book: cut into spans, of which some are held out
    in stretches. A document is then what stands together on one side."""

    name = "spans"
    holds = frozenset({"text"})
    note = (
        "few texts, cut into spans: validation is stretches spread evenly over them, with a gap of "
        f"{SPAN} characters on either side, so it continues texts that training begins"
    )

    def split(
        self, units: Sequence[TextUnit], seed: int, fraction: float
    ) -> tuple[Sequence[TextUnit], Sequence[TextUnit]]:
        parts = [(i, part) for i, unit in enumerate(units) for part in _cut(unit.text)]
        try:
            sides = stretches(len(parts), max(1, round(fraction * len(parts))))
        except ValueError:
            raise RequestError(
                f"source '{self.source.name}': {sum(len(part) for _, part in parts):,} characters "
                "are too few to hold a part of them out"
            ) from None
        train, val = (_joined(parts, side.tolist()) for side in sides)
        return train, val


def _cut(text: str) -> Iterator[str]:
    """Spans of at most SPAN characters that end with a line, else with a word; nothing is lost."""
    at = 0
    while at < len(text):
        end = at + SPAN
        if end < len(text):
            borders = (text.rfind(border, at, end) + 1 for border in ("\n", " "))
            end = next((border for border in borders if border > at), end)
        yield text[at:end]
        at = end


def _joined(parts: Sequence[tuple[int, str]], chosen: Sequence[int]) -> list[TextUnit]:
    """What follows on another in one text, together again."""
    texts: list[str] = []
    last = (-1, -1)
    for place in chosen:
        text, part = parts[place]
        if last == (text, place - 1):
            texts[-1] += part
        else:
            texts.append(part)
        last = (text, place)
    return [
        TextUnit(hashlib.sha256(text.encode()).hexdigest(), text) for text in texts if text.strip()
    ]


def of_paths(paths: Sequence[Path]) -> dict[str, Any]:
    """A source of all of a mix from a user's text files, as plain values: whole documents where
    there are enough of them, else spans. Raises RequestError."""
    for path in paths:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise RequestError(f"'{path}' is no regular file")  # a pipe might never end
    name = re.sub(r"[^A-Za-z0-9._+=,@-]+", "-", paths[0].stem).lstrip("._+=,@-")[:100] or "text"
    kind = Files.name
    source = Source(name=name, kind=kind, share=1.0, paths=tuple(map(str, paths)))
    if len({unit.name for unit in Files(source).read()}) < FEW:
        kind = Spans.name
    return source.model_copy(update={"kind": kind}).model_dump(exclude_defaults=True)


def listing(source: Source) -> list[Path]:
    """The files, folders resolved, each folder's in sorted order. Raises RequestError."""
    if not source.paths:
        raise RequestError(f"source '{source.name}' reads files, but its paths are empty")
    files: list[Path] = []
    for given in source.paths:
        path = Path(given).expanduser()
        if path.is_dir():
            inside, _ = rows.inside(path)
            if not inside:
                raise RequestError(
                    f"source '{source.name}': folder '{given}' holds no {rows.either()} file"
                )
            files += inside
        elif not path.exists():
            raise RequestError(f"source '{source.name}': no file or folder '{given}'")
        elif not rows.is_readable(path):
            raise RequestError(
                f"source '{source.name}': '{given}' must end in {rows.either()}, "
                f"not {path.suffix or 'nothing'!r}"
            )
        else:
            files.append(path)
    return files
