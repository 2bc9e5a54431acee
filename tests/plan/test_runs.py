"""Plans: grids, horizons, keys, and the confound check."""

from __future__ import annotations

import pytest

from harness import presets
from harness.config import RunConfig, replace
from harness.errors import RequestError
from harness.plan.runs import Plan
from harness.recipe import ActiveFlops, Axis, Entry, Match, Primary, Recipe, Tokens, find
from models.config import flops_per_token
from models.presets import model
from tests.plan import making


def entry(recipe: Recipe) -> Entry:
    primary = Primary(metric="val_loss", at="tokens", pairs=())
    return Entry("some", primary, {"smoke": 3, "proxy": 3}, lambda scale: recipe, "Some recipe.")


def make(recipe: Recipe | Entry, **overrides: object) -> Plan:
    chosen = recipe if isinstance(recipe, Entry) else entry(recipe)
    return making.make(
        chosen, "smoke", "cpu", overrides=overrides,
        tokenizer_digest=lambda _: "t", device_class="d",
    )  # fmt: skip


def of(base: RunConfig, axes: list[Axis], **fields: object) -> Recipe:
    return Recipe(base, axes, fields.pop("horizons", [Tokens(base.train.tokens)]), **fields)


BASE = presets.run("smoke")
RATES = Axis("rate", ["optim.muon_lr"], {"low": 0.01, "high": 0.04})


def test_every_seed_and_arm_has_its_runs_parents_first():
    plan = make(find("dense_vs_moe"))
    seen: set[str] = set()
    for run in plan.runs:
        assert run.parent is None or run.parent in seen
        seen.add(run.key)
    assert len(seen) == len(plan.runs)
    arms = {arm.name for arm in plan.arms}
    assert {(r.arm, r.seed) for r in plan.runs} == {(arm, s) for arm in arms for s in range(3)}


def test_horizons_end_at_equal_tokens_and_equal_flops():
    plan = make(find("dense_vs_moe"))
    ends = {(r.arm, e.horizon): e for r in plan.runs for e in r.endpoints}
    assert {e.tokens for (_, horizon), e in ends.items() if horizon == "tokens"} == {
        BASE.train.tokens
    }
    budget = BASE.train.tokens * flops_per_token(BASE.model, BASE.data.seq_len)
    for (arm, horizon), end in ends.items():
        if horizon == "active-flops":
            config = next(a.config for a in plan.arms if a.name == arm)
            one = config.tokens_per_update * flops_per_token(config.model, config.data.seq_len)
            # To the nearest update.
            assert abs(end.flops - budget) <= one / 2


def test_a_decay_starts_where_the_stem_branches():
    plan = make(find("dense_vs_moe"))
    by_key = {run.key: run for run in plan.runs}
    for run in plan.runs:
        if run.parent:
            stem = by_key[run.parent]
            assert run.first_update in stem.branch_at
            assert run.decay_start == run.first_update
            share = (run.last_update - run.first_update) / run.last_update
            assert share == pytest.approx(0.2, abs=1 / run.last_update)


def test_cosine_has_a_run_of_its_own_for_each_horizon():
    base = replace(BASE, {"schedule.name": "cosine"})
    longer = Tokens(2 * base.train.tokens, "double")
    plan = make(of(base, [RATES], horizons=[Tokens(base.train.tokens), longer]))
    assert {(r.stage, r.parent, r.first_update) for r in plan.runs} == {
        ("train-tokens", None, 0),
        ("train-double", None, 0),
    }


def test_other_tokens_per_update_end_at_the_same_tokens():
    axis = Axis("batch", ["batch.micro_batch"], {"8": 8, "4": 4})
    plan = make(of(BASE, [axis]))
    assert {e.tokens for r in plan.runs for e in r.endpoints} == {BASE.train.tokens}


# -- keys --------------------------------------------------------------------------------------


def keys(plan: Plan) -> set[str]:
    return {run.key for run in plan.runs}


def test_the_key_follows_what_changes_a_result_and_nothing_else():
    reference = keys(make(of(BASE, [RATES])))
    assert keys(make(of(BASE, [RATES]))) == reference
    assert keys(make(of(BASE, [RATES]), **{"train.log_every": 3})) == reference
    assert keys(make(of(BASE, [RATES]), **{"train.checkpoint_every": 3})) == reference
    for path, value in {
        "optim.clip_norm": 0.5, "train.threads": 2, "data.split_seed": 1, "train.dtype": "fp32",
    }.items():  # fmt: skip
        assert not keys(make(of(BASE, [RATES]), **{path: value})) & reference, path


@pytest.mark.parametrize("name", ["tokenizer_digest", "device_class", "world_size"])
def test_the_key_holds_tokenizer_device_and_world_size(name):
    fixed = {"tokenizer_digest": lambda _: "t", "device_class": "d", "world_size": 1}
    other = {"tokenizer_digest": lambda _: "u", "device_class": "e", "world_size": 2}
    chosen = entry(of(BASE, [RATES]))
    before = making.make(chosen, "smoke", "cpu", **fixed)
    after = making.make(chosen, "smoke", "cpu", **{**fixed, name: other[name]})
    assert not keys(before) & keys(after)


# -- confounds ---------------------------------------------------------------------------------


def test_an_undeclared_difference_is_refused_with_field_and_values():
    axis = Axis(
        "rate", ["optim.muon_lr"],
        {"low": {"optim.muon_lr": 0.01}, "high": {"optim.muon_lr": 0.04, "optim.clip_norm": 0.5}},
    )  # fmt: skip
    with pytest.raises(RequestError, match=r"optim\.clip_norm \(1\.0 against 0\.5\)"):
        make(of(BASE, [axis]))


def test_a_declared_field_of_another_axis_does_not_excuse_a_difference():
    clips = Axis("clip", ["optim.clip_norm"], {"1": 1.0, "2": 2.0})
    sly = Axis(
        "rate", ["optim.muon_lr"],
        {"low": 0.01, "high": {"optim.muon_lr": 0.04, "optim.muon_momentum": 0.9}},
    )  # fmt: skip
    with pytest.raises(RequestError, match=r"optim\.muon_momentum"):
        make(of(BASE, [clips, sly]))


def test_a_scale_that_makes_arms_differ_is_refused_there_alone():
    def build(scale):
        extra = {"schedule.warmup_updates": 30} if scale == "proxy" else {}
        values = {"low": {"optim.muon_lr": 0.01}, "high": {"optim.muon_lr": 0.04, **extra}}
        return of(presets.run(scale), [Axis("rate", ["optim.muon_lr"], values)])

    chosen = Entry("sly", entry(of(BASE, [])).primary, {"smoke": 1, "proxy": 1}, build, "Sly.")
    making.grid(chosen, "smoke", {})
    with pytest.raises(RequestError, match=r"schedule\.warmup_updates \(15 against 30\)"):
        making.grid(chosen, "proxy", {})


def test_arms_that_differ_only_in_what_neither_uses_are_refused():
    with pytest.raises(RequestError, match=r"only in optim\.muon_lr, which change nothing"):
        make(of(BASE, [RATES]), **{"optim.name": "adamw"})
    weights = Axis("balance", ["model.balance_weight"], {"none": 0.0, "some": 0.01})
    with pytest.raises(RequestError, match=r"only in model\.balance_weight"):
        make(of(BASE, [weights]))
    both = ["optim.name", "optim.muon_lr"]
    muon = {"optim.name": "muon", "optim.muon_lr": 0.01}
    used = Axis("optimizer", both, {"muon": muon, "adamw": {**muon, "optim.name": "adamw"}})
    assert len(make(of(BASE, [used])).arms) == 2


def test_an_override_that_undoes_an_axis_is_refused():
    with pytest.raises(RequestError, match="the same configuration"):
        make(of(BASE, [RATES]), **{"optim.muon_lr": 0.02})


def test_an_override_holds_for_arms_that_replace_the_section():
    models = Axis("model", ["model.*"], {k: model(k, "smoke") for k in ("dense", "moe-active")})
    plan = make(of(BASE, [models]), **{"model.layers": 2})
    assert {arm.config.model.layers for arm in plan.arms} == {2}


def test_overrides_that_fit_together_reach_arms_that_replace_the_section():
    """A larger tokenizer and a larger vocabulary: neither alone fits the arms' own models."""
    plan = make(find("dense_vs_moe"), **{"model.vocab_size": 49_152, "data.vocab_size": 49_152})
    assert {arm.config.model.vocab_size for arm in plan.arms} == {49_152}


def test_an_override_that_breaks_a_match_is_refused():
    values = {"dense": model("dense", "smoke"), "moe": model("moe-active", "smoke")}
    recipe = of(
        BASE, [Axis("model", ["model.*"], values)], matches=[Match("moe", "dense", "active")]
    )
    make(recipe)
    with pytest.raises(RequestError, match="active parameters"):
        make(recipe, **{"model.ffn": 300})


def test_arms_of_equal_configuration_are_refused():
    with pytest.raises(RequestError, match="the same configuration"):
        make(of(BASE, [Axis("rate", ["optim.muon_lr"], {"a": 0.01, "b": 0.01})]))


def test_a_horizon_of_an_unknown_arm_is_refused():
    with pytest.raises(RequestError, match="no arm 'dens'"):
        make(of(BASE, [RATES], horizons=[Tokens(BASE.train.tokens), ActiveFlops.of("dens")]))


# -- questions and names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("primary", "words"),
    [
        (Primary(metric="val_loss", at="token", pairs=()), "did you mean 'tokens'"),
        (Primary(metric="val_loss", at="tokens", pairs=(("low", "hgh"),)), "did you mean 'high'"),
    ],
)
def test_a_question_about_what_is_not_there_is_refused(primary, words):
    asked = Entry("some", primary, {"smoke": 3}, lambda scale: of(BASE, [RATES]), "Some.")
    with pytest.raises(RequestError, match=words):
        making.grid(asked, "smoke", {})


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a b"])
def test_a_name_that_cannot_be_a_folder_is_refused(name):
    axis = Axis("rate", ["optim.muon_lr"], {name: 0.01, "high": 0.04})
    with pytest.raises(RequestError, match="cannot name an arm"):
        make(of(BASE, [axis]))


@pytest.mark.parametrize("returned", [None, 1 / 3])
def test_a_recipe_that_returns_something_else_is_named(returned):
    chosen = Entry("odd", entry(of(BASE, [])).primary, {"smoke": 1}, lambda scale: returned, "Odd.")
    with pytest.raises(RequestError, match="'odd' returned"):
        chosen.at("smoke")
