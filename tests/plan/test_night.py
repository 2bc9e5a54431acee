"""A night: what a budget holds, what it can find, and what is frozen before the first run."""

from __future__ import annotations

import json
import math
import random

import pytest

from harness.commands import night as door
from harness.commands import request, run_question
from harness.commands import run as runs
from harness.errors import RequestError
from harness.evidence.spreads import Spread
from harness.machine.hardware import peaks
from harness.machine.prices import price_of
from harness.plan import night
from harness.plan.campaign import Target
from harness.recipe import load
from harness.stats.inference import paired_difference
from tests.plan import making

CARD = Target("rtx-4090", "cuda", peaks()["rtx-4090"][1], price_of("rtx-4090"))
SPREADS = [Spread("a", "proxy", "x", "y", 5, 0.01, 9), Spread("b", "proxy", "x", "z", 5, 0.03, 8)]


def test_a_budget_holds_whole_pairs_and_keeps_a_margin():
    held = night.holds("1h", CARD, 600.0, SPREADS)
    assert (held.pairs, held.minutes) == (5, 50.0)
    assert held.dollars == pytest.approx(5 * 600 / 3600 * CARD.price.value)
    assert night.holds("1h", CARD, 1200.0, SPREADS).cautious is None  # two pairs answer nothing
    with pytest.raises(RequestError, match="--budget takes"):
        night.holds("x", CARD, 600.0, SPREADS)


@pytest.mark.parametrize("pairs", [4, 8])
def test_what_is_said_to_be_detected_is_detected_in_four_of_five_nights(pairs):
    held = night.of_pairs("n", 0.0, pairs, 1.0, CARD, SPREADS)
    source, found, nights = random.Random(0), 0, 4000
    for _ in range(nights):
        base = [source.gauss(3.0, 0.05) for _ in range(pairs)]
        other = [b - held.cautious + source.gauss(0.0, 0.03) for b in base]
        low, high = paired_difference(base, other).interval
        found += high < 0.0 or low > 0.0
    assert found / nights == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / nights))
    assert held.usual == pytest.approx(held.cautious / 3)


def test_the_protocol_is_the_recipe_that_says_so_and_asks_about_one_pair_of_losses():
    entry = night.protocol(load()[0].values(), None)
    recipe = entry.at("full")
    assert recipe.role == night.ROLE
    assert [s.name for s in recipe.base.data.sources] == ["fineweb-edu-dedup"]
    plan = making.make(entry, "full", "cuda")
    assert {
        run.last_update * run.config.tokens_per_update for run in plan.runs if run.endpoints
    } == {recipe.base.train.tokens}
    for name, why in (("optimizers", "one pair"), ("pretrain_sft", "one pair"), ("nigt", "night")):
        with pytest.raises(RequestError, match=why):
            night.protocol(load()[0].values(), name)


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A machine with a 4090 whose records lie in an empty folder; what it would run is noted."""
    started = []
    product = "NVIDIA GeForce RTX 4090"
    on = Target(CARD.name, "cuda", CARD.peak, CARD.price, 8, product)
    monkeypatch.setattr(door, "target", lambda text, folder, only: on)
    monkeypatch.setattr(door, "device_profile", lambda kind: night_profile())
    monkeypatch.setattr(door, "evidence", lambda *_: making.auto.NONE)
    monkeypatch.setattr(door.data_recipe, "missing", lambda plan: [])
    monkeypatch.setattr(runs, "run", lambda options, **others: started.append((options, others)))
    return tmp_path, started


def night_profile():
    from harness.plan import profiles

    return profiles.PROFILES["24gb"]


def test_what_runs_is_frozen_in_every_record_and_its_command_says_so(here):
    results, started = here
    door.night(door.Options("cuda", "8h", results=results))
    ((options, others),) = started
    frozen = others["beforehand"]
    pairs = frozen.entry.seeds["full"]
    assert pairs >= 3
    assert frozen.words == ("smol", "night", "--device", "cuda", "--pairs", str(pairs))
    assert (options.recipe, options.scale, options.device) == ("night", "full", "cuda")
    asked = request.Request(options, "full", "cuda", results, {}, None, beforehand=frozen)
    plan = making.make(frozen.entry, "full", "cuda")
    assert {run.seed for run in plan.runs} == set(range(3000, 3000 + pairs))
    question = run_question.question(plan, asked.asked)
    assert (question.seeds, question.first_seed, question.overrides) == (pairs, 3000, {})
    assert run_question.command(asked, frozen.entry) == " ".join(frozen.words)


def test_a_night_that_was_begun_keeps_its_number_of_pairs(here, monkeypatch):
    results, started = here
    monkeypatch.setattr(night, "begun", lambda entry, records, device: 5)
    door.night(door.Options("cuda", "30h", results=results))
    assert started[0][1]["beforehand"].entry.seeds["full"] == 5
    with pytest.raises(RequestError, match="begun with 5 pairs"):
        door.night(door.Options("cuda", "30h", pairs=6, results=results))
    monkeypatch.setattr(night, "begun", lambda entry, records, device: None)
    with pytest.raises(RequestError, match="below 3 there is no answer"):
        door.night(door.Options("cuda", "10m", results=results))
    assert len(started) == 1


def test_the_door_says_beforehand_and_starts_nothing(here, capsys):
    results, started = here
    door.night(door.Options("cuda", "5$", dry_run=True, results=results, as_json=True))
    said = json.loads(capsys.readouterr().out)
    assert not started
    assert said["arms"] == ["preset", "transferred"]
    assert [b["budget"] for b in said["budgets"]] == ["1h", "5$", "8h"]
    assert len(said["runs"]) == 4 * said["to_run"]["pairs"]
    assert said["spreads"] == []
    assert said["to_run"]["cautious"] is None


def test_a_card_that_is_not_here_is_refused_but_for_a_dry_run(tmp_path):
    for device, why in (
        ("h200", "for --dry-run; this machine has"),
        ("cpu", "a night is for a card"),
    ):
        with pytest.raises(RequestError, match=why):
            door.night(door.Options(device, results=tmp_path))
    assert not list(tmp_path.iterdir())


def test_spreads_are_said_to_be_carried_over():
    said = " ".join(night.carried(SPREADS))
    assert "largest spread of 2: b" in said
    assert "carried over to full" in said
    full = [Spread("a", "full", "x", "y", 5, 0.01, 9)]
    assert "carried over" not in " ".join(night.carried(full))
    assert "no paired spread" in night.carried([])[0]
