import json

import pytest

from harness.bench.kernels import lab as kernels
from harness.records import bench
from models.kernels.registry import OPS
from models.kernels.unfit import UNFIT

ERROR = {"op": "rope", "dtype": "bfloat16", "quantity": "output", "rows": 3}
BUILD = {"op": "rope", "kernel": "rope_turn", "arch": "sm_89", "registers": 40, "spill_bytes": 0,
         "shared_bytes": 0, "widest_bytes": 16, "matrix_unit": None, "misfit": None}  # fmt: skip


def report(errors=(), builds=()):
    return {"errors": list(errors), "builds": list(builds), "predictions": [], "objections": []}


def test_a_sound_report_has_no_objection():
    error = ERROR | {"kernel": 0.002, "torch": 0.001, "acceptable": True}
    assert kernels.objections(report([error], [BUILD | {"config": "ROWS=8"}])) == []


def test_an_error_above_twice_torchs_is_objected_to():
    error = ERROR | {"kernel": 0.0021, "torch": 0.001, "acceptable": False}
    (line,) = kernels.objections(report([error]))
    assert "rope in bfloat16: the output's error 2.10e-03" in line


def test_a_kernel_without_a_fitting_configuration_is_objected_to():
    builds = [BUILD | {"config": c, "misfit": "spills 8 bytes"} for c in ("ROWS=8", "ROWS=16")]
    lines = kernels.objections(report(builds=builds))
    assert lines[0] == "rope_turn: no configuration fits sm_89"
    assert lines[1:] == [
        "rope_turn on sm_89: add 'ROWS=16' to UNFIT",
        "rope_turn on sm_89: add 'ROWS=8' to UNFIT",
    ]


def test_a_table_that_says_otherwise_than_the_builds_is_objected_to(monkeypatch):
    builds = [BUILD | {"config": "ROWS=8", "misfit": "spills"}, BUILD | {"config": "ROWS=16"}]
    assert kernels.objections(report(builds=builds)) == [
        "rope_turn on sm_89: add 'ROWS=8' to UNFIT"
    ]
    monkeypatch.setitem(UNFIT, ("rope_turn", "sm_89"), frozenset({"ROWS=8"}))
    assert not kernels.objections(report(builds=builds))


def test_predictions_are_the_roofline_of_stated_bytes():
    rows = {(p["op"], p["card"]): p for p in kernels.predictions(list(OPS))}
    # Eight elements of 2 bytes for 8,192 × 576, at 3,350 GB/s.
    expected = 8 * 2 * 8192 * 576 / 3350e9 * 1e3
    assert rows["add_rms_norm", "h100-sxm"]["fused_ms"] == pytest.approx(expected)
    # Matrix products alone: 6 · 8,192 · 49,152 · 576 at 165.2 TFLOP/s, on a 4090 far above the
    # softmax's 6 bytes a logit at 1,008 GB/s.
    products = 6 * 8192 * 49_152 * 576 / 165.2e12 * 1e3
    softmax = 6 * 8192 * 49_152 / 1008e9 * 1e3
    assert rows["head_cross_entropy", "rtx-4090"]["fused_ms"] == pytest.approx(products + softmax)
    for p in rows.values():
        assert 0 < p["fused_ms"] <= p["eager_ms"]


def test_the_report_is_shown_and_where_asked_kept(tmp_path, monkeypatch, capsys):
    error = ERROR | {"kernel": 0.002, "torch": 0.001, "acceptable": True}
    spilling = BUILD | {"config": "ROWS=8", "misfit": "spills 8 bytes"}
    monkeypatch.setattr(kernels, "errors", lambda ops: [error])
    monkeypatch.setattr(kernels, "builds", lambda ops: [spilling, BUILD | {"config": "ROWS=16"}])
    monkeypatch.setitem(UNFIT, ("rope_turn", "sm_89"), frozenset({"ROWS=8"}))
    assert kernels.main(["--write", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "1 of  2 kept" in shown
    assert "pruned ROWS=8: spills 8 bytes" in shown
    kept = json.loads((tmp_path / "bench" / "kernels.json").read_text())
    assert kept["errors"] == [error]
    assert kept["builds"][0] == spilling
    assert kept["digest"] == kernels.digest()
    _, read = bench.read_all(tmp_path)  # as the card does
    assert read is not None
    assert read.builds[0].misfit == "spills 8 bytes"
    monkeypatch.setitem(UNFIT, ("rope_turn", "sm_89"), frozenset())
    assert kernels.main(["rope"]) == 1
    assert "add 'ROWS=8' to UNFIT" in capsys.readouterr().out


def test_bad_requests_are_one_line_and_exit_2(capsys):
    assert kernels.main(["rms_nrom"]) == 2
    assert capsys.readouterr().err == "no kernel op 'rms_nrom'; did you mean 'rms_norm'?\n"
    assert kernels.main(["rope", "--write"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_digest_is_of_syntax(monkeypatch):
    assert kernels.digest() == kernels.digest()
    before = kernels.digest()
    monkeypatch.setattr(kernels, "normal_form", lambda text: text + "x = 1")
    assert kernels.digest() != before


@pytest.mark.slow
def test_everything_builds_fits_as_the_table_says_and_errs_no_more_than_allowed():
    found = kernels.measure(list(OPS))
    assert found["objections"] == []
    assert {e["op"] for e in found["errors"]} == set(OPS)
