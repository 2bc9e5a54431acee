"""Rows that are left out of a preparation: why, how many at most, and the list beside the manifest.

A row that is no text, or no conversation, does not end a preparation; many of them do, since then
it is the wrong column or the wrong data set.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import RequestError

FILE = "left_out.jsonl"
"""The list's name in the prepared folder, there only where something was left out: a line a row."""
FEWEST, SHARE = 20, 0.01
"""How many rows of a source may be left out in any case, and what part of those read."""


@dataclass(frozen=True)
class Refused:
    """Why a row cannot be used."""

    why: str
    """The kind, by which such rows are counted."""
    detail: str = ""
    selection: bool = False
    """What is not read by design, however much there is of it: counted only, not listed."""


@dataclass(frozen=True)
class LeftOut:
    """A row that was left out."""

    place: str
    """File and line or row."""
    why: str
    detail: str = ""


def text_fault(value: Any) -> str | None:
    """Why a row's value is no text; None for a text, and for None, which is a row without one."""
    if value is None:
        return None
    if isinstance(value, Refused):
        return value.why
    if not isinstance(value, str):
        return f"no text but {type(value).__name__}"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "text with half of a surrogate pair"  # for which UTF-8 has no form
    return None


def check(source: str, entries: Sequence[LeftOut], read: int) -> None:
    """Raises RequestError where more of the rows `read` so far were left out than may be."""
    if len(entries) > max(FEWEST, SHARE * read):
        raise RequestError(
            f"source '{source}': {len(entries)} of the first {read:,} rows cannot be used, more "
            f"than {FEWEST} and {SHARE:.0%}: {reasons(Counter(e.why for e in entries))}; "
            f"{first(entries)}"
        )


def first(entries: Sequence[LeftOut]) -> str:
    """Where to look."""
    one = entries[0]
    return f"the first is {one.place}" + (f" ({one.detail})" if one.detail else "")


def reasons(counts: Mapping[str, int]) -> str:
    """`12 no text but int, 3 ...`, the most frequent first."""
    known = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{number:,} {why}" for why, number in known if number)


def write(folder: Path, sources: Iterable[tuple[str, Sequence[LeftOut]]]) -> None:
    """Write the list of each (source, rows), if any row was left out."""
    lines = [
        json.dumps(
            {"source": name, **{k: v for k, v in asdict(entry).items() if v}}, ensure_ascii=False
        )
        for name, entries in sources
        for entry in entries
    ]
    if lines:
        text = "".join(line + "\n" for line in lines)
        (folder / FILE).write_text(text, encoding="utf-8", errors="backslashreplace")
