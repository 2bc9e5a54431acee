"""What the page's script needs beside what the page says: where numbers come from, and charts.

Names and files are kept once and called by their place, since thousands of cells share them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.cells import Index
from harness.report.inputs import Inputs


@dataclass
class _Placed:
    """Values by the place at which each was first seen."""

    values: list[Any] = field(default_factory=list)
    places: dict[Any, int] = field(default_factory=dict)

    def place(self, value: Any, key: Any = None) -> int:
        """Where a value stands; `key` tells it from others where it cannot be hashed."""
        key = value if key is None else key
        if key not in self.places:
            self.places[key] = len(self.values)
            self.values.append(value)
        return self.places[key]


def provenance(index: Index, inputs: Inputs) -> dict[str, Any]:
    """Every cell with its metric, aggregation, interval and files, and what those files are.

    `cells[address]` is [metric, aggregation, n, interval, set]; a set is a list of places in
    `files`; a file is [path, status, name, created, difference, command], the last four empty for
    what is no run's record.
    """
    words, sets, diffs, commands = _Placed(), _Placed(), _Placed(), _Placed()
    records = {path_of(record): record for record in inputs.records}
    files = [_file(path, records.get(path), diffs, commands) for path in index.sources]
    place = {path: number for number, path in enumerate(index.sources)}
    by_set = {
        address: sets.place([place[p] for p in cell.records if p in place], cell.records)
        for address, cell in index.cells.items()
    }
    return {
        "cells": {
            address: [
                words.place(cell.metric), words.place(cell.aggregation), cell.n, cell.interval,
                by_set[address],
            ]
            for address, cell in index.cells.items()
        },
        "views": {name: view.command for name, view in index.views.items() if view.command},
        "sets": sets.values, "words": words.values, "files": files, "diffs": diffs.values,
        "commands": commands.values,
    }  # fmt: skip


def _file(path: str, record: Record | None, diffs: _Placed, commands: _Placed) -> list[Any]:
    if record is None:
        return [path]
    diff = {name: value for name, value in record.diff.items() if ".counted" not in name}
    shown = [[name, json.dumps(value, ensure_ascii=False)] for name, value in diff.items()]
    of_arm = [record.arm, shown]
    return [
        path, record.status, record.name, record.created,
        diffs.place(of_arm, json.dumps([record.recipe, of_arm])), commands.place(record.command),
    ]  # fmt: skip


def to_json(content: Mapping[str, Any]) -> bytes:
    """Compact JSON; a number that is none becomes null, which no chart draws."""
    return json.dumps(
        _finite(content), separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_finite(one) for one in value]
    return value
