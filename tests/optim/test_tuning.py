"""Searches over optimizers of any kind: the same grid for each, in units that mean the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import recipes.optimizer_field as field
from harness.config import replace
from harness.errors import RequestError
from harness.optim import tuning
from harness.parts import settle as room
from harness.plan.grid import Arm, arms
from harness.recipe import find

ORDINARY = {"optim.name": "torch.optim:NAdam", "optim.settings": {"lr": 0.01, "weight_decay": 0.5}}


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are taken as they say they are."""

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        return {
            "changes": {"optim.settings": dict(question["config"]["optim"]["settings"])},
            "taken": [],
        }

    monkeypatch.setattr(room, "_tried", answer)


def grid(name: str) -> list[Arm]:
    return arms(find(name).at("proxy"), {})


def test_rates_are_scaled_and_what_decays_is_a_share_of_the_weight():
    base = field.base("smoke")
    ours = tuning.Scaled(2.0)(replace(base, {"optim.name": "adamw"}))
    assert ours == {"optim.adamw_lr": 2 * base.optim.adamw_lr}  # Muon's is not AdamW's to read
    own = replace(base, ORDINARY)
    assert tuning.Scaled(0.5)(own) == {"optim.settings.lr": 0.005}
    assert tuning.Share(0.02)(own) == {"optim.settings.weight_decay": pytest.approx(2.0)}
    assert tuning.Share(0.02)(base) == {
        "optim.muon_weight_decay": pytest.approx(0.02 / base.optim.muon_lr, rel=1e-4),
        "optim.adamw_weight_decay": pytest.approx(0.02 / base.optim.adamw_lr, rel=1e-4),
    }
    with pytest.raises(RequestError, match=r"scales optim\.settings\.lr"):
        tuning.Scaled(2.0)(replace(base, {"optim.name": "torch.optim:NAdam"}))


def test_a_callers_settings_stay_as_they_were():
    given = {**ORDINARY, "optim.settings": {"lr": 0.01}}
    changed = replace(field.base("smoke"), {**given, "optim.settings.lr": 1.0})
    assert changed.optim.settings == {"lr": 1.0}
    assert given["optim.settings"] == {"lr": 0.01}


def test_every_optimizer_of_the_field_has_as_many_trials_of_the_same_form(untried):
    found = grid("tune_optimizer_field")
    trials = Counter(arm.values["optimizer"] for arm in found)
    assert set(trials) == set(field.FIELD)
    assert len(trials) >= 8
    assert len(set(trials.values())) == 1
    by_name = {arm.name: arm.config for arm in grid("optimizer_field")}
    for arm in found:
        ours = by_name[arm.values["optimizer"]]
        share = float(arm.values["decay"].removeprefix("share"))
        read = tuning._read(arm.config)
        for path in filter(tuning.is_decay, read):
            rate = read[path.replace("weight_decay", "lr")]
            assert read[path] * rate == pytest.approx(share, rel=1e-4)
        settings = tuning._read(ours)
        assert replace(arm.config, {**settings, "train.eval_every": ours.train.eval_every}) == ours
