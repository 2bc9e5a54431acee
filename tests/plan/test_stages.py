"""Stages as a plan: chains, keys, overrides, confounds, and a model to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from harness import presets
from harness.errors import RequestError
from harness.plan import stages
from harness.plan.runs import Plan, Run
from harness.recipe import Axis, Entry, Primary, Recipe, Stage, Tokens, find
from tests.plan import making

BASE = presets.run("smoke")
PRETRAIN = Stage("pretrain")
SFT = Stage("sft", lambda arm: {"optim.muon_lr": arm.optim.muon_lr / 10}, after="pretrain")
RATES = Axis("rate", ["optim.muon_lr"], {"low": 0.01, "high": 0.04})


def make(
    chain: Sequence[Stage] = (PRETRAIN, SFT),
    axes: Sequence[Axis] = (),
    overrides: Mapping[str, Any] | None = None,
    at: str = "sft",
    **fields: Any,
) -> Plan:
    recipe = Recipe(BASE, axes, stages=chain)
    primary = Primary(metric="val_loss", at=at, pairs=())
    entry = Entry("some", primary, {"smoke": 2}, lambda scale: recipe, "Some recipe.")
    return making.make(
        entry, "smoke", "cpu", overrides=overrides, tokenizer_digest=lambda _: "t",
        device_class="d", **fields,
    )  # fmt: skip


def runs(plan: Plan, seed: int = 0) -> dict[str, Run]:
    return {f"{r.arm}/{r.stage}": r for r in plan.runs if r.seed == seed}


def test_each_stage_is_a_run_that_starts_from_the_one_before():
    plan = make()
    assert [run.stage for run in plan.runs] == ["pretrain", "sft"] * 2
    found = runs(plan)
    first, second = found["base/pretrain"], found["base/sft"]
    assert (first.start, first.parent) == ("init", None)
    assert (second.start, second.parent) == ("final", first.key)
    assert second.first_update == 0
    assert [end.horizon for end in second.endpoints] == ["sft"]
    assert second.stage_diff == {"optim.muon_lr": second.config.optim.muon_lr}


def test_the_rate_falls_at_the_end_of_each_stage():
    for run in make(overrides={"schedule.decay_fraction": 0.25}).runs:
        assert run.decay_start == run.last_update - round(0.25 * run.last_update)


def test_a_key_covers_the_parents_and_nothing_that_changes_no_result():
    before, after = runs(make()), runs(make(overrides={"optim.clip_norm": 0.5}))
    assert before["base/sft"].key != after["base/sft"].key
    only_first = Stage("pretrain", {"optim.clip_norm": 0.5})
    changed = runs(make([only_first, SFT]))
    assert changed["base/sft"].config == before["base/sft"].config
    assert changed["base/sft"].key != before["base/sft"].key  # its parent is another
    asked = Stage("sft", SFT.changes, after="pretrain", prompts=("Hello?",))
    assert runs(make([PRETRAIN, asked]))["base/sft"].key == before["base/sft"].key


def test_a_stages_changes_follow_the_arm_and_its_overrides_come_last():
    found = runs(make(axes=[RATES], overrides={"sft.train.tokens": 51_200, "train.threads": 2}))
    assert found["low/sft"].config.optim.muon_lr == pytest.approx(0.001)
    assert found["high/sft"].config.optim.muon_lr == pytest.approx(0.004)
    assert found["low/sft"].config.train.tokens == 51_200
    assert found["low/pretrain"].config.train.tokens == BASE.train.tokens
    assert {run.config.train.threads for run in found.values()} == {2}
    again = runs(make(overrides={"optim.muon_lr": 0.03, "sft.optim.muon_lr": 0.03}))
    assert {run.config.optim.muon_lr for run in again.values()} == {0.03}


def test_arms_may_not_differ_in_a_stage_beyond_their_axes():
    def sly(arm):
        return {"optim.clip_norm": 0.5 if arm.optim.muon_lr > 0.02 else 1.0}

    with pytest.raises(RequestError, match=r"in stage 'sft', differ in optim\.clip_norm"):
        make([PRETRAIN, Stage("sft", sly, after="pretrain")], axes=[RATES])


def test_arms_that_become_alike_in_a_later_stage_still_start_from_different_weights():
    same = Stage("sft", {"optim.muon_lr": 0.001}, after="pretrain")
    found = runs(make([PRETRAIN, same], axes=[RATES]))
    assert found["low/sft"].config == found["high/sft"].config
    assert found["low/sft"].key != found["high/sft"].key


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ([Stage("sft", after="pretrain")], "does not come before"),
        ([PRETRAIN, PRETRAIN], "the name is taken"),
        ([Stage("data")], "the name is taken"),
        ([PRETRAIN, Stage("sft", {"model.ffn": 96}, after="pretrain")], "another architecture"),
        ([PRETRAIN, Stage("sft", {"optim.muon": 1}, after="pretrain")], r"stage 'sft'.*no field"),
    ],
)
def test_what_is_no_chain_is_refused(chain, words):
    with pytest.raises(RequestError, match=words):
        make(chain, at=chain[-1].name)


def test_a_recipe_with_stages_has_no_other_horizons():
    with pytest.raises(RequestError, match="their ends as horizons"):
        stages.check(Recipe(BASE, [], [Tokens(1024)], stages=[PRETRAIN]))


def test_a_given_model_starts_the_stage_named_and_only_what_follows_is_planned():
    whole = runs(make(given="checkpoint 1234"))
    assert (whole["base/pretrain"].start, whole["base/pretrain"].given) == (
        "given", "checkpoint 1234",
    )  # fmt: skip
    assert whole["base/sft"].parent == whole["base/pretrain"].key
    assert whole["base/pretrain"].key != runs(make())["base/pretrain"].key
    alone = runs(make(given="checkpoint 1234", start="sft"))
    assert set(alone) == {"base/sft"}
    assert (alone["base/sft"].start, alone["base/sft"].parent) == ("given", None)
    assert alone["base/sft"].key != runs(make(given="checkpoint 5678", start="sft"))["base/sft"].key
    with pytest.raises(RequestError, match="did you mean 'sft'"):
        make(given="checkpoint 1234", start="sfr")
    with pytest.raises(RequestError, match="did you mean 'sft'"):
        stages.chosen((PRETRAIN, SFT), "sfr", given=False)  # as a dry run asks


def test_the_seeds_pipeline_at_full_is_the_seeds():
    found = runs(
        making.make(
            find("pretrain_sft"), "full", "cpu", tokenizer_digest=lambda _: "t", device_class="d"
        )
    )
    pretrain, sft = found["base/pretrain"], found["base/sft"]
    assert {run.config.tokens_per_update for run in (pretrain, sft)} == {98_304}
    assert (pretrain.last_update, sft.last_update) == (1000, 500)
    assert (pretrain.config.optim.muon_lr, pretrain.config.optim.adamw_lr) == (0.003, 0.0003)
    assert (sft.config.optim.muon_lr, sft.config.optim.adamw_lr) == (0.0003, 0.00003)
    shares = {s.name: s.share for s in (*pretrain.config.data.sources, *sft.config.data.sources)}
    assert shares == {
        "fineweb-edu-dedup": 0.7, "cosmopedia-v2": 0.3,
        "smol-magpie-ultra": 0.8, "everyday-conversations": 0.2,
    }  # fmt: skip
    assert {run.config.data.tokenizer for run in (pretrain, sft)} == {"smollm2"}
