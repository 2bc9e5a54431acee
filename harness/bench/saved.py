"""Writes the files of `results/bench/`, one a suite and device, and says a row in one line.

`harness.records.bench` has their form. May not import torch. No host name and no path enters them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.code import provenance
from harness.files import write_atomically
from harness.records.bench import FOLDER, Bench, BenchRow
from harness.stats.rounds import Ratio


def against(row: BenchRow, base: str, ratio: Ratio) -> BenchRow:
    """The row with its ratio to the base."""
    changes = {
        "base": base, "ratio_to_base": ratio.value, "ratio_low": ratio.low,
        "ratio_high": ratio.high,
    }  # fmt: skip
    return row.model_copy(update=changes)


def text(row: BenchRow) -> str:
    """One line for a terminal."""
    line = f"{row.name:<36}{1e3 * row.median_seconds:>12,.2f} ms"
    if row.ratio_to_base is not None:
        ratio = Ratio(row.ratio_to_base, row.ratio_low, row.ratio_high)
        line += f"  {ratio.text} x {row.base}"
    return line


def write(results: Path, suite: str, device: str, rows: Sequence[BenchRow]) -> Path:
    """`<results>/bench/<suite>.<device>.json`, replaced whole."""
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    path = results / FOLDER / f"{suite}.{slug}.json"
    content = Bench(
        schema=1,
        device=device,
        date=datetime.now(UTC).date().isoformat(),
        software=dict(provenance.software()),
        rows=tuple(rows),
    )
    write_atomically(path, content.model_dump_json(by_alias=True, indent=1) + "\n")
    return path
