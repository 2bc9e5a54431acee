"""Ledgers, evaluations and scripts' records that a stranger has put into a results folder."""

from __future__ import annotations

import json
import os

import pytest

from harness.code.provenance import ROOT
from harness.errors import RequestError
from harness.records import evaluation, foreign, ledger

KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"[" * 200_000, "line 1: no line of a ledger"),
        (b'{"before": ' + b"1" * 10_000 + b"}", "line 1: no line of a ledger"),
    ],
)
def test_a_ledger_that_is_no_text_is_one_line(tmp_path, content, why):
    file = tmp_path / "mine.jsonl"
    file.write_bytes(content)
    with pytest.raises(RequestError, match=why):
        ledger.forecasts(file)


def test_a_ledger_is_a_file_of_some_size(tmp_path):
    with open(tmp_path / "vast.jsonl", "wb") as file:
        file.truncate(10**12)  # which takes no place, and all memory where it is read
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("vast", "pipe"):
        with pytest.raises(RequestError, match="cannot be read"):
            ledger.forecasts(tmp_path / f"{name}.jsonl")


@pytest.mark.parametrize("field", ["tokens", "bytes"])
def test_an_evaluation_of_more_than_can_be_counted_is_refused(tmp_path, field):
    results = ROOT / "results"
    source = next((results / evaluation.FOLDER).glob("*/*.json"))
    place = tmp_path / source.relative_to(results)
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({**json.loads(source.read_text()), field: 10**400}))
    with pytest.raises(RequestError, match=f"is not a valid evaluation: {field}"):
        evaluation.read_all(tmp_path)


@pytest.mark.parametrize("name", [f"{KEY}.1.json", f"source.{KEY}.json"])
def test_a_scripts_record_is_a_file_of_some_size(tmp_path, name):
    place = tmp_path / foreign.folder_of("mine", "arm") / name
    place.parent.mkdir(parents=True)
    with place.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(RequestError, match="cannot be read: it has"):
        foreign.read_name(tmp_path, "mine")
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(RequestError, match="cannot be read: it is no regular file"):
        foreign.read_name(tmp_path, "mine")


def test_a_scripts_question_holds_no_controls(tmp_path):
    asked = foreign.ScriptAsked(
        schema_version=1, name="mine", recipe=None, scale=None, summary="a\x1b[31m\u202eb",
        recipe_seeds=None, arms=(), metric=None, way=None, format="text", seeds=3, first_seed=0,
        frozen=(), equal=(), device_class="cpu", slots=(),
    )  # fmt: skip
    foreign.write_question(tmp_path, asked)
    found = foreign.read_question(tmp_path, "mine")
    assert found is not None
    assert found.summary == "a[31mb"
