"""Configurations: overrides are strict, canonical forms are stable, differences are complete."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import presets
from harness.commands.planned import parse_overrides
from harness.config import NEUTRAL_FIELDS, RunConfig, canonical, flatten, identity, replace
from harness.errors import RequestError
from harness.plan.diffs import difference

BASE = presets.run("smoke")
NUMBERS = sorted(
    path
    for path, value in flatten(BASE).items()
    if isinstance(value, float) and path.startswith("optim.")
)


@pytest.mark.parametrize("scale", ["smoke", "proxy", "full"])
def test_json_round_trip(scale):
    config = presets.run(scale)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


@given(st.sampled_from(NUMBERS), st.floats(1e-6, 1.0, exclude_max=True))
def test_one_changed_field_is_the_one_difference(path, value):
    changed = replace(BASE, {path: value})
    expected = {} if flatten(BASE)[path] == value else {path: (flatten(BASE)[path], value)}
    assert difference(BASE, changed) == expected
    assert (identity(BASE) == identity(changed)) == (not expected)


def test_neutral_fields_exist_and_make_no_difference():
    assert set(flatten(BASE)) >= NEUTRAL_FIELDS
    for path in NEUTRAL_FIELDS:
        changed = replace(BASE, {path: 7})
        assert not difference(BASE, changed)
        assert identity(changed) == identity(BASE)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("optim.muon_lrr=1", "did you mean 'optim.muon_lr'"),
        ("optim.muon_lr=fast", "optim.muon_lr"),
        ("train.tokens=1.5", "train.tokens"),
        ("model=3", "model"),
        ("model.experts=1", "experts must be 0 (dense) or at least 2"),
        ("batch.grad_accum=0", "at least 1"),
        ("train.tokens=-5", "train.tokens must be at least 1"),
        ("train.eval_every=0", "train.eval_every must be at least 1"),
        ("optim.muon_lr=-1", "must not be negative"),
        ("optim.muon_lr=Infinity", "optim.muon_lr"),
        ("optim.muon_momentum=2", "inside [0, 1)"),
        ("optim.adamw_betas=[0.9]", "optim.adamw_betas"),
        ("optim.muon_lr", "--set takes field=value"),
        ("=3", "--set takes field=value"),
    ],
)
def test_wrong_overrides_name_the_field(pair, words):
    with pytest.raises(RequestError) as error:
        replace(BASE, parse_overrides([pair]))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_overrides_are_read_as_json_else_as_text():
    changes = parse_overrides(
        ["optim.muon_lr=1", "optim.adamw_betas=[0.8, 0.9]", "train.dtype=fp32"]
    )
    config = replace(BASE, changes)
    assert config.optim.muon_lr == 1.0
    assert config.optim.adamw_betas == (0.8, 0.9)
    assert config.train.dtype == "fp32"


def test_canonical_forms_do_not_depend_on_order():
    assert canonical({"b": 1, "a": [1.0, None]}) == canonical({"a": [1.0, None], "b": 1})


@pytest.mark.parametrize("settings", [{"a.b": 1}, {"a": {}}, {"a": {"b": {}}}])
def test_settings_that_dotted_fields_could_not_tell_apart_are_refused(settings):
    """`{"a.b": 1}` and `{"a": {"b": 1}}` would share a key, and so would `{}` and `{"a": {}}`."""
    other = {"optim.name": "torch.optim:NAdam", "optim.settings": settings}
    with pytest.raises(RequestError, match="a name with a dot, or an empty table"):
        replace(presets.run("smoke"), other)
    with pytest.raises(RequestError, match="a name with a dot, or an empty table"):
        replace(presets.run("smoke"), {"model.feed_forward.settings": settings})
