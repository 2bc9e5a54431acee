"""The ledger of forecasts: one JSON line each, written before the rung is run, never changed.

A line carries the digest of the line before it and its own, so that one that was changed, left out
or put in later is seen (`read`). Scores are not written: they are made of the ledger and the
records whenever somebody asks.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from harness.config import Frozen, Name, canonical
from harness.errors import RequestError, explain
from harness.files import read_regular
from harness.records.untrusted import cleaned

MAX_BYTES = 16 * 10**6
"""Of a file of forecasts: thousands of them."""
FIRST = "0" * 16
"""What stands in the place of a digest before the first line."""


def path_of(results: Path, recipe: str) -> Path:
    """The file of a recipe's forecasts."""
    return results / "ledger" / f"{recipe}.jsonl"


def _digest(line: dict[str, Any]) -> str:
    body = {name: value for name, value in line.items() if name != "digest"}
    return hashlib.sha256(canonical(body).encode()).hexdigest()[:16]


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of a ledger, the oldest first; none where there is no file.

    Raises RequestError for what is no file of text, and naming the first line that is no forecast,
    or not as it was written.
    """
    if not os.path.lexists(file):
        return []
    try:
        lines = read_regular(file, MAX_BYTES).decode("utf-8").splitlines()
    except OSError as error:
        raise RequestError(f"{file.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{file.name} is not UTF-8 text") from None
    found: list[dict[str, Any]] = []
    before = FIRST
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
            kept = line["before"] == before and line["digest"] == _digest(line)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise RequestError(f"{file.name}, line {number}: no line of a ledger") from None
        if not kept:
            raise RequestError(f"{file.name}, line {number}: not as it was written")
        before = line["digest"]
        found.append(line)
    return found


class ExpectedGap(Frozen):
    """An arm's loss less its reference's, as it is expected at a budget, in nats a token."""

    model_config = ConfigDict(extra="ignore", strict=False)  # a line has more, and lists
    expected: float
    inner: tuple[float, float] = Field(alias="50")
    """The 50 % interval."""
    outer: tuple[float, float] = Field(alias="90")
    """The 90 % interval."""


class Foretold(Frozen):
    """What a reader needs of a line: the rung, and what is expected at its budgets."""

    model_config = ConfigDict(extra="ignore", strict=False)
    rung: Name
    device: str
    """The class of the device that is to run it."""
    made: str = Field(pattern=r"^[0-9T:.+Z-]{10,40}$")
    """When, UTC, ISO 8601."""
    tokens: tuple[int, ...]
    differences: tuple[ExpectedGap, ...]


def forecasts(file: Path) -> list[Foretold]:
    """The lines of a ledger as values, the oldest first. Raises RequestError as `read` does, and
    for a line that lacks something."""
    found = []
    for number, line in enumerate(read(file), start=1):
        try:
            one = Foretold.model_validate(cleaned(line))
        except ValidationError as why:
            raise RequestError(f"{file.name}, line {number}: {explain(why)}") from None
        if len(one.tokens) != len(one.differences):
            raise RequestError(f"{file.name}, line {number}: not a difference a budget")
        found.append(one)
    return found


def append(file: Path, line: dict[str, Any]) -> dict[str, Any]:
    """Write one more forecast, flushed to the disk; returns it with its digests.

    Raises RequestError where the ledger is not as it was written.
    """
    known = read(file)
    line = {**line, "before": known[-1]["digest"] if known else FIRST}
    line = {**line, "digest": _digest(line)}
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out:
        out.write(canonical(line) + "\n")
        out.flush()
        os.fsync(out.fileno())
    return line
