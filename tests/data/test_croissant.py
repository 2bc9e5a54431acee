"""A prepared folder's description, read by Croissant's own library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlcroissant
import pytest

from harness.commands.data_croissant import Options, data_croissant
from harness.config import DataConfig
from harness.data.prepare import prepare
from harness.errors import RequestError


def test_its_own_validator_takes_it_and_every_file_is_there(
    spec: Callable[..., DataConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepare(spec()).folder
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    data_croissant(Options(folder))
    told = json.loads(capsys.readouterr().out)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before

    read = mlcroissant.Dataset(jsonld=told).metadata  # raises ValidationError for what is wrong
    assert not read.ctx.issues.errors
    assert {one.name for one in read.record_sets} == {"train", "validation"}
    for one in read.distribution:
        assert hashlib.sha256((folder / one.content_url).read_bytes()).hexdigest() == one.sha256
    columns = {(r.name, f.source.extract.column) for r in read.record_sets for f in r.fields}
    assert ("train", "input_ids") in columns
    assert ("validation", "documents") in columns


def test_no_prepared_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no prepared data folder"):
        data_croissant(Options(tmp_path / "none"))


def test_what_is_left_out_of_a_field_is_refused_by_the_validator() -> None:
    """That the first test can fail."""
    broken: dict[str, Any] = {"@context": {"@vocab": "https://schema.org/"}, "@type": "sc:Dataset"}
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=broken)
