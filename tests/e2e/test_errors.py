"""Bad input: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Workspace, make


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    """Shared by requests that must leave nothing behind."""
    return make(tmp_path_factory.mktemp("errors"))


def contents(place: Workspace) -> set[str]:
    # Python writes the bytecode of an imported recipe beside it.
    return {str(p) for p in place.folder.rglob("*") if "__pycache__" not in str(p)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "tiny_rate"], "no recipe 'tiny_rate'; did you mean 'tiny_rates'?"),
        (["run", "tiny_rates", "--set", "optim.muonlr=1"], "did you mean 'optim.muon_lr'?"),
        (["run", "tiny_rates", "--set", "optim.adamw_lr=fast"], "optim.adamw_lr"),
        (["run", "tiny_rates", "--set", "optim.adamw_lr"], "--set takes field=value"),
        (["run", "tiny_rates", "--set", "optim.muon_lr=0.5"], "the same configuration"),
        (["run", "tiny_rates", "--set", "data.seq_len=1"], "data.seq_len"),
        (["run", "tiny_rates", "--scale", "huge"], "no scale 'huge'"),
        (["run", "tiny_rates", "--scale", "proxy"], "has no scale 'proxy'"),
        (["run", "tiny_rates", "--device", "tpu"], "no device 'tpu'"),
        (["run", "tiny_rates", "--seeds", "0"], "--seeds must be at least 1"),
        (["run", "tiny_rates", "--fresh", "--keep"], "exclude each other"),
        (["run", "tiny_rates", "--stagge", "x"], "--stagge"),
        (["run", "tiny_rates", "--data", "nowhere"], "nowhere"),
        (["trace", "nothing/at/all"], "no results folder 'results'"),
        (["walk"], "walk"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_says_so_and_changes_nothing(place, arguments, words):
    before = contents(place)
    assert words in place.smol(*arguments, code=2)
    assert contents(place) == before


def test_results_that_are_a_file(workspace):
    (workspace.folder / "results").write_text("in the way")
    assert "not a folder" in workspace.smol("run", "tiny_rates", code=2)
    assert (workspace.folder / "results").read_text() == "in the way"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00broken", b'{"txt": "no text"}\n'])
def test_unreadable_or_empty_sources(workspace, content):
    source = workspace.folder / "topics.jsonl"
    source.unlink()
    if content is not None:
        source.write_bytes(content)
    assert "topics" in workspace.smol("run", "tiny_rates", code=2)
    assert not workspace.results.exists()


@pytest.mark.parametrize("content", ["{", '{"schema_version": 99}', '{"some": "json"}'])
def test_a_corrupt_or_foreign_record(workspace, content):
    place = workspace.results / "records" / "tiny_rates" / "low"
    place.mkdir(parents=True)
    (place / "0123456789abcdef.1.json").write_text(content)
    for command in (["run", "tiny_rates"], ["card", "--results", str(workspace.results)]):
        assert "0123456789abcdef.1.json" in workspace.smol(*command, code=2)
    assert not (workspace.results / "MODEL_CARD.md").exists()


def test_a_broken_recipe_beside_good_ones(place):
    broken = place.folder / "recipes" / "broken.py"
    broken.write_text("raise RuntimeError('half-finished')")
    try:
        assert "tiny_rates" in place.smol("list")
        assert "half-finished" in place.smol("run", "broken", code=2)
        assert "low" in place.smol("show", "tiny_rates")
    finally:
        broken.unlink()


def test_a_failed_run_exits_3_and_its_record_says_how(workspace):
    recipe = workspace.folder / "recipes" / "tiny.py"
    recipe.write_text(recipe.read_text().replace('"high": 0.03', '"high": 1e30'))
    said = workspace.smol("run", "tiny_rates", "--seeds", "1", code=3)
    assert "diverged" in said
    statuses = {(r.arm, r.stage): r.status for r in workspace.records()}
    assert statuses["high", "stem"] == "diverged"
    assert statuses["low", "decay-tokens"] == "ok"
