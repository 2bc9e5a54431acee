"""The files of `results/bench/`: one a suite and device, rows that a table can be made of.

May not import torch. No host name and no path enters them.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.bench.ratios import Ratio
from harness.files import write_atomically
from harness.measure import provenance

SCHEMA = 1
FOLDER = "bench"


@dataclass(frozen=True)
class Row:
    """One contestant of one group."""

    group: str
    name: str
    median_seconds: float
    """Of one call."""
    iqr_seconds: float
    rounds: int
    ratio_to_base: float | None = None
    """How many times as fast as the base: its seconds / these, over rounds; above 1 is faster.
    None for the base itself and in groups without one."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    """The 95 % interval over rounds of one launch; None below two rounds."""
    base: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """What else was seen: `tokens_per_second`, `peak_bytes`, `first_update_seconds` ..."""

    def against(self, base: str, ratio: Ratio) -> Row:
        """The row with its ratio to the base."""
        return dataclasses.replace(
            self, base=base, ratio_to_base=ratio.value, ratio_low=ratio.low, ratio_high=ratio.high
        )

    @property
    def text(self) -> str:
        """One line for a terminal."""
        line = f"{self.name:<36}{1e3 * self.median_seconds:>12,.2f} ms"
        if self.ratio_to_base is not None:
            ratio = Ratio(self.ratio_to_base, self.ratio_low, self.ratio_high)
            line += f"  {ratio.text} x {self.base}"
        return line


def write(results: Path, suite: str, device: str, rows: Sequence[Row]) -> Path:
    """`<results>/bench/<suite>.<device>.json`, replaced whole."""
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    path = results / FOLDER / f"{suite}.{slug}.json"
    content = {
        "schema": SCHEMA,
        "device": device,
        "date": datetime.now(UTC).date().isoformat(),
        "software": provenance.software(),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path
