"""`compile=auto` by what was measured, and by a stated assumption where nothing was."""

from __future__ import annotations

import pytest

from harness import recipe
from harness.evidence import launches
from harness.evidence.breakeven import ASSUMED_BREAK_EVEN, Measured, choose, unmeasured
from harness.plan import runs as plan
from harness.plan.auto import Evidence
from harness.stats.line import BreakEven, Line, unresolved
from tests.plan import making
from tests.report import test_throughput


def timed(fixed: float, steady: float, found: BreakEven | None = None) -> Measured:
    return Measured(Line(fixed, steady), found, longest=600)


MEASURED = {
    "eager": timed(5, 0.5),
    "blocks": timed(25, 0.4, BreakEven(200.0, (180.0, 230.0), 180.0, None)),
    "whole": timed(65, 0.37, BreakEven(461.0, (400.0, 560.0), 400.0, None)),
}


@pytest.mark.parametrize(
    ("updates", "mode"),
    [(100, "eager"), (201, "eager"), (231, "blocks"), (600, "blocks"), (5000, "whole")],
)
def test_the_fewest_seconds_win_of_those_that_surely_pay(updates, mode):
    assert choose(updates, MEASURED, "a.view").value == mode


def test_the_reason_says_what_it_rests_on():
    assert choose(900, MEASURED, "a.view").reason == (
        "900 updates take 455 s eager, 385 s blocks, 398 s whole; blocks pays from 200 [180, 230] "
        "updates on; whole pays from 461 [400, 560] updates on (measured: a.view)"
    )
    # Seconds are not foretold far beyond the launches.
    assert choose(901, MEASURED).reason.startswith("901 updates: blocks pays from")
    never = {
        "eager": timed(5, 0.5),
        "blocks": timed(25, 0.6, BreakEven(None, None, 0.0, "never: slower afterwards")),
    }
    assert "blocks break-even never: slower" in choose(1000, never).reason
    assert "not measured on this device" in choose(1000, {}).reason
    assert "not measured on this device" in choose(1000, {"eager": timed(5, 0.5)}).reason


def test_what_is_not_resolved_leaves_eager():
    tie = {"eager": timed(5, 0.5), "blocks": timed(6, 0.4, unresolved(20.0, 900.0))}
    found = choose(5000, tie, "a.view")
    assert found.value == "eager"
    assert "blocks break-even not resolved within 900 updates: at least 20" in found.reason


def test_without_measurements_the_assumption_decides():
    assert choose(ASSUMED_BREAK_EVEN, {}).value == "eager"
    assert choose(ASSUMED_BREAK_EVEN + 1, {}).value == "blocks"


def make(scale: str, timings=unmeasured, **overrides):
    return making.make(
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
    slow = {"eager": timed(5, 0.5), "whole": timed(25, 0.6, unresolved(0.0, 900.0))}
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
    # Planted: from 200 updates on, of which the launches have at most a quarter.
    assert choose(1000, found, origin).value == "eager"
    assert found["blocks"].break_even.text == "not within 72 updates"
    near = launches.lines_of(test_throughput.campaign(later=4.0), "proxy", device)[0]
    assert choose(1000, near, origin).value == "blocks"
    assert launches.lines_of(records, "full", device) == ({}, "")
    assert launches.lines_of(records, "proxy", "another CPU") == ({}, "")
