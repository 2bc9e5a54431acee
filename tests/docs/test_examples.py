"""The worked examples of the page on verdicts say what the committed cells say."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_example_is_a_cell_of_the_card() -> None:
    page = (ROOT / "docs/verdicts.md").read_text("utf-8")
    rows = re.findall(r"^\| `([^`]+/[^`]+)` \| (.+) \|$", page, re.MULTILINE)
    cells = json.loads((ROOT / "results/cells.json").read_bytes())["cells"]
    assert len(rows) > 10
    assert [(address, cells[address]["text"]) for address, _ in rows] == rows
