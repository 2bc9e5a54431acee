"""Which results folders a command may mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.commands import places


def test_one_folder_that_is_named_in_two_ways_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("results", "elsewhere"):
        (tmp_path / folder / "records").mkdir(parents=True)
    places.remember(tmp_path / "results")  # as `--results` with a whole path left it
    assert places.with_records() == [Path("results")]
    places.remember(tmp_path / "elsewhere")
    assert places.with_records() == [Path("results"), tmp_path / "elsewhere"]
