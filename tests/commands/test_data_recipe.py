"""The data of a recipe, prepared before its runs; and one line where it is not there."""

from __future__ import annotations

from harness.commands import campaign as campaigns
from harness.commands import data_recipe
from harness.data import prepare
from harness.files import cache_root
from harness.plan.campaign import Slot, Unit
from harness.plan.resolved import resolve
from harness.recipe import find
from tests.plan import making


def test_what_a_recipe_reads_is_prepared_where_its_runs_look_for_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SMOL_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    plan = making.make(find("optimizers"), "smoke", "cpu")
    (line,) = data_recipe.missing(plan)
    assert "of optimizers at smoke" in line
    assert "`smol data prepare recipe optimizers --scale smoke`" in line
    data_recipe.data_recipe(data_recipe.Options("optimizers", "smoke"))
    assert "the data of optimizers at smoke is prepared" in capsys.readouterr().out
    assert data_recipe.missing(plan) == []
    for run in plan.runs:
        assert prepare.find_prepared(run.config.data) is not None


def test_each_stage_of_a_recipe_is_asked_for():
    resolved = resolve(find("pretrain_sft"), "full")
    formats = {step.config.data.format for arm in resolved.arms for step in arm.steps}
    assert formats == {"text", "chat"}


def test_a_campaign_says_in_one_line_which_data_is_missing(monkeypatch, capsys):
    there = {"optimizers"}
    monkeypatch.setenv("COLUMNS", "1000")
    plans = {
        name: making.make(find(name), "full", "cuda", seeds=1)
        for name in ("optimizers", "dense_vs_moe", "pretrain_sft")
    }
    known = {run.config.data for run in plans["optimizers"].runs}
    monkeypatch.setattr(data_recipe, "is_prepared", lambda data: data in known and bool(there))
    slots = [
        Slot(Unit(name, "full", ("a",), 0, tuple(plan.runs), 1.0, 60.0, "b", "w"), 60.0, 60.0, None)
        for name, plan in plans.items()
    ]
    campaigns._say_data(slots)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert "of pretrain_sft at full" in said[0]
    assert "before the card is paid for" in said[0]
    assert "optimizers" not in said[0]
    there.clear()
    campaigns._say_data(slots[:1])
    assert "of optimizers at full (1.8 GB)" in capsys.readouterr().out
