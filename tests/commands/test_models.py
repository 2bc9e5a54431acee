"""Which model an argument means, where several runs share a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.commands import models, places
from harness.errors import RequestError
from harness.launch.protocol import RunFiles, run_folder
from harness.records import store
from harness.records.schema import Record
from tests.report.factory import campaign, of

NAME = "dense_vs_moe/dense/0/decay-tokens"


def _twice(results: Path) -> list[Record]:
    """One name at two lengths."""
    sets = {"train.tokens": 163_840}
    records = [of(r, "dense", 0, "decay-tokens") for r in (campaign(), campaign(sets=sets))]
    assert len({record.key for record in records}) == 2
    for record in records:
        store.write(results, record)
    return records


def _keep(results: Path, record: Record) -> Path:
    final = RunFiles(run_folder(places.checkpoints_folder(results), record)).final
    final.parent.mkdir(parents=True)
    final.touch()
    return final


def test_a_shared_name_means_the_run_whose_weights_are_here(tmp_path: Path) -> None:
    results = tmp_path / "results"
    short, long = _twice(results)
    with pytest.raises(RequestError, match=f"names 2 runs; say a key: .*{short.key}"):
        models.resolve(NAME, results=results)
    final = _keep(results, long)
    assert models.resolve(NAME, results=results).path == final
    with pytest.raises(RequestError, match=f"weights of {NAME} are not here"):
        models.resolve(short.key, results=results)
    _keep(results, short)
    with pytest.raises(RequestError, match="names 2 runs"):
        models.resolve(NAME, results=results)
    assert models.resolve(long.key, results=results).path == final
