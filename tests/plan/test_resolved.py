"""A recipe is resolved once, whoever asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands import campaign, request, run, show
from harness.errors import RequestError
from harness.recipe import Entry, find


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scales at which a recipe was built, one entry a time that it was."""
    times: list[str] = []
    entry = find("dense_vs_moe")

    def counted(scale: str) -> object:
        times.append(scale)
        return entry.build(scale)

    one: Entry = dataclasses.replace(entry, build=counted)  # type: ignore[arg-type]
    for room in (request, show):
        monkeypatch.setattr(room, "find", lambda name: one)
    monkeypatch.setattr(campaign, "load", lambda: ({one.name: one}, []))
    return times


@pytest.mark.parametrize(
    "asked",
    [
        lambda results: run.run(run.Options("dense_vs_moe", dry_run=True, results=results)),
        lambda results: show.show(show.Options("dense_vs_moe", results=results)),
    ],
    ids=["dry run", "show"],
)
def test_a_recipe_is_built_once(
    built: list[str], tmp_path: Path, asked: Callable[[Path], None]
) -> None:
    asked(tmp_path)
    assert built == ["smoke"]


def test_a_run_builds_it_once_and_refuses_before_it_starts(
    built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.run_data, "prepare_all", lambda *_: pytest.fail("data were prepared"))
    with pytest.raises(RequestError, match="no arm 'dens'; did you mean 'dense'"):
        run.run(run.Options("dense_vs_moe", arms=["dens"], results=tmp_path))
    assert built == ["smoke"]
    assert list(tmp_path.iterdir()) == []
