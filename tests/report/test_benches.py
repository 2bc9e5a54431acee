"""Benches and kernels in the card: every number traced to its file, nothing made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RequestError
from harness.report import card
from harness.report.trace import Tracer
from tests.report.followed import everything, follow

ROWS = [
    {"group": "update", "name": "eager", "median_seconds": 0.8, "iqr_seconds": 0.01, "rounds": 9,
     "ratio_to_base": None, "ratio_low": None, "ratio_high": None, "base": None,
     "extra": {"tokens_per_second": 5120.4, "peak_bytes": 2_500_000_000}},
    {"group": "update", "name": "blocks", "median_seconds": 0.4, "iqr_seconds": 0.02, "rounds": 9,
     "ratio_to_base": 2.0, "ratio_low": 1.9, "ratio_high": 2.1, "base": "eager", "extra": {}},
]  # fmt: skip
BUILD = {
    "op": "swiglu", "kernel": "swiglu_forward", "arch": "sm_89", "config": "64x4",
    "registers": 40, "spill_bytes": 0, "shared_bytes": 4096, "widest_bytes": 16,
    "matrix_unit": None, "misfit": None,
}  # fmt: skip
KERNELS = {
    "schema": 1, "digest": "ab12", "software": {"torch": "2.13.0"},
    "errors": [{"op": "swiglu", "dtype": "fp32", "rows": 37, "quantity": "forward", "kernel": 3e-7,
                "torch": 2e-7, "acceptable": True}],
    "builds": [BUILD, BUILD | {"config": "128x8", "spill_bytes": 64, "misfit": "spills 64 B"}],
    "predictions": [{"op": "swiglu", "card": "rtx-4090", "rows": 8192, "fused_ms": 0.125,
                     "eager_ms": 0.25}],
    "objections": [],
}  # fmt: skip


def put(results: Path, name: str, content: dict[str, Any]) -> None:
    path = results / "bench" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    suite = {"schema": 1, "device": "Some CPU", "date": "2026-11-23",
             "software": {"torch": "2.13.0"}, "rows": ROWS}  # fmt: skip
    put(tmp_path, "update.some-cpu.json", suite)
    put(tmp_path, "kernels.json", KERNELS)
    return tmp_path


def test_tables_and_figure_are_in_the_card_and_traced(results: Path) -> None:
    card.regenerate(results)
    assert card.check(results) is None
    assert (results / "figures/bench.update.some-cpu.figure.png").stat().st_size > 10_000
    tracer = Tracer(results)
    seen = follow(everything(results), tracer)
    cells = tracer.cells()
    assert seen == set(cells)
    ratio = cells["bench.update.some-cpu/update/blocks/ratio"]
    assert ratio.text == "2.00 [1.90, 2.10]"
    assert ratio.interval == (1.9, 2.1)
    assert ratio.records == ("bench/update.some-cpu.json",)
    assert cells["kernels/swiglu/kept_sm_89"].text == "1 of 2"
    assert cells["kernels/swiglu/spilled_sm_89"].text == "0"
    assert cells["kernels/swiglu/error"].text == "1.50"
    assert cells["kernels/swiglu/measured"].text == "not measured"


def test_a_changed_bench_makes_the_card_stale(results: Path) -> None:
    card.regenerate(results)
    path = results / "bench/update.some-cpu.json"
    path.write_text(path.read_text().replace("0.4", "0.3"))
    assert "bench.update.some-cpu" in str(card.check(results))


def test_a_file_that_is_no_bench_is_named(results: Path) -> None:
    put(results, "notes.json", {"schema": 9})
    with pytest.raises(RequestError, match=r"^bench/notes\.json is not a valid bench: schema"):
        card.check(results)
