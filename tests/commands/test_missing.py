"""`smol run`, `smol show` and `smol campaign` agree on which runs are missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.code import behaviour, provenance
from harness.commands import campaign, run_data
from harness.commands import run as door
from harness.commands.show import Options as ShowOptions
from harness.commands.show import show
from harness.config import canonical
from harness.evidence import query
from harness.machine import cards, hardware
from harness.plan import backlog as backlogs
from harness.plan.campaign import Target
from harness.plan.runs import Run
from harness.recipe import load
from harness.records import store
from harness.records.schema import Record

RESULTS = provenance.ROOT / "results"
RECIPES = [
    name
    for name, entry in load()[0].items()
    if "proxy" in entry.seeds and entry.at("proxy").runs_on("cpu")
]
COMMITTED = store.read_all(RESULTS)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Record]], None]:
    """The machine and software of the committed records, whose code behaves as is committed; and
    a way to say which of the records there are."""
    known, newest = behaviour.committed(), max(COMMITTED, key=lambda record: record.created)
    assert known is not None
    monkeypatch.setattr(hardware, "cpu_class", lambda: newest.hardware.device_class)
    monkeypatch.setattr(cards, "usable", lambda: cards.NO_DRIVER)
    monkeypatch.setattr(provenance, "software", lambda: newest.software)
    monkeypatch.setattr(behaviour, "of_code", lambda: known.digest)
    data = query.Recorded(COMMITTED)

    def prepared(needs: Any, folders: Any, tokenizer: Any) -> dict[str, Any]:
        """As if each run's data were prepared, and what it was for the records."""
        found = {}
        for need in needs:
            manifest = SimpleNamespace(
                digest=data.manifest_digest(need.config.data),
                tokenizer_digest=data.tokenizer_digest(need.config.data),
            )
            found[canonical(need.config.data)] = SimpleNamespace(manifest=manifest)
        return found

    monkeypatch.setattr(run_data, "prepare_all", prepared)
    return lambda records: monkeypatch.setattr(store, "read_all", lambda results: records)


def started(recipe: str, monkeypatch: pytest.MonkeyPatch, only: Callable[[Run], bool]) -> set[str]:
    """The runs that `smol run --fresh` starts, but for parents whose checkpoints are gone."""
    runs: list[Run] = []
    monkeypatch.setattr(backlogs, "with_parents", lambda todo, plan, can_start: (todo, []))
    monkeypatch.setattr(door, "_launch", lambda todo, *others: runs.extend(todo) or [])
    monkeypatch.setattr(door, "_report", lambda *others, **named: None)
    door.run(door.Options(recipe, "proxy", "cpu", results=RESULTS, fresh=True), only=only)
    return {run.name for run in runs}


def shown(recipe: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    show(ShowOptions(recipe, "proxy", "cpu", as_json=True, results=RESULTS))
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["runs"]
    return found


def planned(results: Path) -> dict[str, set[str]]:
    device = Target(hardware.cpu_class(), "cpu", None, None)
    found: dict[str, set[str]] = {}
    for unit in campaign._missing(device, results):
        found.setdefault(unit.recipe, set()).update(run.name for run in unit.runs)
    return found


def spoilt() -> list[Record]:
    """The committed records without every seventh, and with every fifth of other behaviour."""
    other = {"source_digest": "another", "behaviour_digest": "another"}
    return [
        record.model_copy(update={"code": record.code.model_copy(update=other)})
        if place % 5 == 0
        else record
        for place, record in enumerate(COMMITTED)
        if place % 7
    ]


@pytest.mark.parametrize("records", [COMMITTED, spoilt()], ids=["committed", "spoilt"])
def test_all_doors_agree_on_what_is_missing(here, records, monkeypatch, capsys) -> None:
    here(records)
    missing = planned(RESULTS)
    for recipe in RECIPES:
        expected = missing.get(recipe, set())
        assert started(recipe, monkeypatch, lambda run: True) == expected, recipe
        told = shown(recipe, capsys)
        some = {*told["outdated"], *told["pending"]}
        # Timed launches are run in whole blocks, of which `show` lists what is missing itself.
        assert some <= expected, recipe
        assert {name.split("/")[2] for name in expected} == {n.split("/")[2] for n in some}


def test_what_this_behaviour_has_finished_is_not_run_again(here, monkeypatch) -> None:
    """By records of other sources that behave alike: most of the committed ones are."""
    here(COMMITTED)
    missing = planned(RESULTS)
    for recipe in ("dense_vs_moe", "tune_dense_vs_moe", "optimizers", "noise_floor"):
        assert recipe not in missing
        assert started(recipe, monkeypatch, lambda run: run.seed == 0) == set()


def test_a_dry_run_of_some_arms_speaks_of_them_alone(
    here: Callable[[list[Record]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    here([])
    options = door.Options("dense_vs_moe", scale="smoke", arms=["dense"], dry_run=True)
    door.run(options)
    said = capsys.readouterr().out
    assert "arm dense\n" in said
    assert "arm moe-active" not in said
    assert "6 runs, " in said  # a stem and a decay of three seeds
    assert "0 of these runs are finished, 0 outdated and 6 missing" in said
