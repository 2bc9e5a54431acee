"""What a search at the rungs says of the rates that a ladder uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import presets
from harness.evidence import rungs
from harness.evidence.transfers import Carried, carried, unfair
from harness.machine import devices
from harness.recipe import RUNGS
from harness.records import store
from harness.stats.ladder import Rung
from harness.stats.transfer import Searched
from models.config import total_parameters
from models.presets import model
from recipes.optimizers import CARRIED, LADDER_SEARCH, RATIOS

RATES = (0.01, 0.02, 0.04, 0.08)


def _carried(best: float, used: float) -> Carried:
    away = np.log2(np.array(RATES) / best)
    losses = 5.0 + 0.05 * away**2 + np.array([[0.003], [-0.003]])
    size = Searched(32.0, RATES, losses)
    return Carried("muon", ("rung1",), (size,), None, "one size", (used,), ())


def test_a_rate_that_loses_more_than_noise_is_no_fair_comparison() -> None:
    assert unfair([_carried(0.02, 0.02)], None, RUNGS) is None
    assert unfair([_carried(0.02, 0.022)], None, RUNGS) is None, "0.001 nats; seeds differ by 0.006"
    why = unfair([_carried(0.02, 0.08)], None, RUNGS)
    assert why is not None
    assert "muon's rate at rung1, 0.08, loses 0.200 nats against 0.02" in why
    edge = unfair([_carried(0.005, 0.02)], None, RUNGS)
    assert edge is not None
    assert "edge" in edge
    one = [_carried(0.02, 0.02)]
    missing = unfair(one, "tune_ladder", devices.of("cuda").ladder)
    assert missing == (
        "nobody has searched its arms' rates at these rungs "
        "(`smol run tune_ladder --scale rung5` and upwards)"
    )
    assert unfair(one * 2, "tune_ladder", RUNGS) is None


def test_a_card_climbs_to_the_real_model() -> None:
    cpu, card = (devices.of(name).ladder for name in ("cpu", "cuda"))
    assert not set(cpu) & set(card)
    assert (*cpu, *card) == RUNGS
    assert model("dense", card[-1]) == model("dense", "full")
    sizes = [total_parameters(model("dense", scale)) for scale in card]
    assert sizes == sorted(sizes)
    assert 13e6 < sizes[0] < 15e6
    for scale in card:  # one rule: heads of 64, as many layers to the width as SmolLM2
        shape = model("dense", scale)
        assert shape.head_dim * shape.heads == shape.width
        assert abs(shape.layers / shape.width - 30 / 576) < 0.002
        most = max(presets.budgets(presets.question(scale), RATIOS))
        assert most < presets.CORPUS_TOKENS[scale], "no text is read twice"


def test_no_multiplier_is_said_of_unfair_settings() -> None:
    draw = np.random.default_rng(0)
    found = []
    for place, size in enumerate((3e5, 6e5, 1.2e6, 2.4e6)):
        tokens = (2 * size, 6 * size, 18 * size)
        reach = np.outer((1.0, 1.5), tokens)  # the arm needs two thirds of the tokens
        clean = 1.7 + 400.0 / size**0.34 + 400.0 / reach**0.28
        losses = clean + draw.normal(0, 0.004, (1, 4, 2, 3))
        rung = Rung(size, tokens, losses)
        scale = f"rung{place + 1}"
        found.append(
            rungs.Climbed(scale, ("adamw", "muon"), rung, (0, 1, 2, 3), (), (), "2026", (1, 1))
        )
    assert "muon needs " in rungs.say(found).verdict
    assert rungs.say(found, unfair="rates").verdict == "this ladder cannot tell: rates"


def test_the_rates_of_the_committed_ladder_are_what_its_search_found() -> None:
    """The law of the two smallest rungs stands in the recipe, by hand; the records say it again."""
    records = store.read_all(Path(__file__).parents[2] / "results" / "ladder")
    device = next(r.hardware.device_class for r in records if r.recipe == LADDER_SEARCH)
    ladder = devices.of("cpu").ladder
    found = rungs.measured(records, "optimizers", device, ladder)
    said = {one.arm: one for one in carried(records, found, device, ladder)}
    assert set(said) == set(CARRIED)
    for arm, (rate, power) in CARRIED.items():
        small, second = said[arm].sizes[:2]
        assert small.optimum[0] == pytest.approx(rate, rel=1e-3)
        law = said[arm].law
        assert law is not None
        assert law.exponent == pytest.approx(power, abs=1e-3)
        assert second.optimum[0] == pytest.approx(rate * (second.width / 32) ** power, rel=2e-3)
        assert law.holds, "else the page says that settings do not transfer"
