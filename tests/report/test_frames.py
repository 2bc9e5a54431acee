"""Frames say what the card says, and the published schema is the record's."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import pytest

import harness
from harness.code.provenance import ROOT
from harness.errors import RequestError
from harness.evidence import query
from harness.records import published, store
from harness.report.frames import Results
from tests.report.factory import campaign


@pytest.fixture(scope="module")
def found() -> Results:
    return Results(campaign())


def test_a_row_is_an_observation(found):
    runs = found.runs
    assert len(runs) == len({(r.recipe, r.arm, r.key) for r in found.records})
    assert not runs.duplicated(["recipe", "arm", "key"]).any()
    kept = query.attempts(found.records)
    points = sum(len(r.training) + len(r.validation) for r in kept)
    assert len(found.curves) == points
    timed = [r.timing for r in kept if r.timing]
    assert len(found.updates) == sum(len(one.update_seconds) for one in timed)
    assert math.isclose(found.updates.seconds.sum(), sum(sum(t.update_seconds) for t in timed))
    assert set(runs["axis.model"].dropna()) >= {"dense", "moe-active"}
    assert str(runs.created.dtype).startswith("datetime64")


def test_a_difference_is_of_the_endpoints_beside_it(found):
    (row,) = found.differences[found.differences.primary].itertuples()
    ends = found.endpoints[found.endpoints.horizon == row.horizon]
    wide = ends.pivot(index="seed", columns="arm", values="val_loss")
    assert row.against == "dense"
    if row.kind == "not comparable":
        assert math.isnan(row.difference)
    else:
        assert math.isclose(row.difference, (wide[row.arm] - wide[row.against]).mean())
        assert row.low < row.difference < row.high
    assert row.sentence.startswith(f"{row.arm} ")


@pytest.mark.docs
def test_the_committed_frames_are_the_cards_cells():
    cells = json.loads((ROOT / "results/cells.json").read_text("utf-8"))["cells"]
    frame = harness.results(ROOT / "results").differences
    checked = 0
    for row in frame[frame.metric == "val_loss"].itertuples():
        cell = cells.get(f"{row.section}.difference/{row.arm}@{row.horizon}/difference")
        if cell is not None and not math.isnan(row.difference):
            printed = cell["text"].split(" ")[0].replace("−", "-")
            assert float(printed) == pytest.approx(row.difference, abs=6e-5)
            checked += 1
        refused = row.kind == "not comparable"
        assert not (refused and not math.isnan(row.difference))
    assert checked >= 5


def test_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(RequestError, match="no records in"):
        harness.results(tmp_path)


def test_the_published_schema_is_the_records(tmp_path: Path):
    file = ROOT / "docs" / "schema" / published.NAME
    again = f"python -m harness.records.published {file.relative_to(ROOT)}"
    assert file.read_text("utf-8") == published.text(), again
    check = jsonschema.Draft202012Validator(json.loads(file.read_text("utf-8")))
    for record in campaign()[:5]:
        check.validate(json.loads(store.to_json(record)))
    wrong = json.loads(store.to_json(campaign()[0])) | {"status": "splendid"}
    assert not check.is_valid(wrong)
