"""`compile=auto` by what was measured, and by a stated assumption where nothing was."""

from __future__ import annotations

import pytest

from harness import recipe
from harness.evidence import launches
from harness.evidence.breakeven import ASSUMED_BREAK_EVEN, choose, unmeasured
from harness.plan import runs as plan
from harness.plan.auto import Evidence
from harness.stats.line import fit
from tests.report import test_throughput


def line(fixed: float, steady: float):
    return fit([100, 200], [fixed + 100 * steady, fixed + 200 * steady])


MEASURED = {"eager": line(5, 0.5), "blocks": line(25, 0.4), "whole": line(65, 0.37)}


@pytest.mark.parametrize(
    ("updates", "mode"), [(100, "eager"), (200, "eager"), (201, "blocks"), (5000, "whole")]
)
def test_the_fewest_predicted_seconds_win(updates, mode):
    assert choose(updates, MEASURED, "a.view").mode == mode


def test_the_reason_says_what_it_rests_on():
    assert choose(1000, MEASURED, "a.view").reason == (
        "1,000 updates in 425 s by blocks, 505 s eager; blocks pays from 200 updates on "
        "(measured: a.view)"
    )
    never = {"eager": line(5, 0.5), "blocks": line(25, 0.6)}
    assert "pays never" in choose(1000, never).reason
    assert "not measured on this device" in choose(1000, {}).reason
    assert "not measured on this device" in choose(1000, {"eager": line(5, 0.5)}).reason


def test_without_measurements_the_assumption_decides():
    assert choose(ASSUMED_BREAK_EVEN, {}).mode == "eager"
    assert choose(ASSUMED_BREAK_EVEN + 1, {}).mode == "blocks"


def make(scale: str, timings=unmeasured, **overrides):
    return plan.make(
        recipe.find("dense_vs_moe"), scale, "cpu", overrides=overrides,
        tokenizer_digest=lambda data: "t", device_class="a CPU",
        evidence=Evidence(compile_lines=timings),
    )  # fmt: skip


def modes(made: plan.Plan) -> set[str]:
    return {run.config.train.compile for run in made.runs}


def test_the_plan_resolves_auto_once_for_all_arms():
    full = make("full")
    assert modes(full) == {"blocks"}
    assert full.choices["train.compile"].startswith("blocks: 1,000 updates are more than")
    slow = {"eager": line(5, 0.5), "whole": line(25, 0.6)}
    assert modes(make("full", lambda: (slow, "a.view"))) == {"eager"}


def test_an_override_may_ask_for_auto_and_an_explicit_mode_is_kept():
    assert modes(make("smoke")) == {"eager"}
    assert "train.compile" not in make("smoke").choices
    asked = make("smoke", lambda: (MEASURED, "a.view"), **{"train.compile": "auto"})
    assert modes(asked) == {"eager"}
    assert "80 updates" in asked.choices["train.compile"]
    assert modes(make("full", **{"train.compile": "whole"})) == {"whole"}


def test_the_records_of_a_timing_are_what_auto_asks():
    records = test_throughput.campaign()
    device = records[0].hardware.device_class
    found, origin = launches.lines_of(records, "proxy", device)
    assert set(found) == {"eager", "blocks", "whole"}
    assert origin == "compile_breakeven.proxy.cpu.throughput"
    assert choose(1000, found, origin).mode == "blocks"
    assert launches.lines_of(records, "full", device) == ({}, "")
    assert launches.lines_of(records, "proxy", "another CPU") == ({}, "")
