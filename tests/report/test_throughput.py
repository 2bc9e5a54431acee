"""Ratios only between launches that may be compared, fits against the truth, and every refusal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.evidence import launches
from harness.evidence.sections import Section, sections
from harness.records.schema import Launch, Record
from harness.records.seen import MachineState
from harness.report.views import throughput
from harness.report.views.throughput import totals
from harness.stats.inference import judge, t_interval
from recipes.compile_breakeven import LENGTHS
from tests.report import factory

FIXED = {"eager": 5.0, "blocks": 25.0, "whole": 45.0}
UPDATE = {"eager": 0.50, "blocks": 0.40, "whole": 0.50}
"""Seconds: blocks break even after 20 / 0.1 = 200 updates, whole never."""
CALM = MachineState(load=2.0, others=0.01, gpu=None, gpu_note=None)
MADE = factory._plan_of("compile_breakeven", "proxy")


def launch_of(**changes: Any) -> Launch:
    fields = {
        "campaign": "2026-11-23T10:00:00+00:00", "place": 0, "cache": "private",
        "before": CALM, "after": CALM, "contaminated": None,
    }  # fmt: skip
    return Launch(**{**fields, **changes})


def campaign(
    change: Callable[[Any, int], dict[str, Any]] = lambda run, place: {},
    loss: Callable[[Any], float] = lambda run: 0.0,
    noise: float = 0.002,
    later: float = FIXED["blocks"] - FIXED["eager"],
) -> list[Record]:
    """Every launch of the plan, in its order; `change` sets fields of a launch; `later` is how
    many seconds the first update of blocks takes beyond a steady one."""
    asked = factory.question(MADE).model_copy(update={"margin": 0.02, "fewest": 5})
    found = []
    for place, run in enumerate(MADE.runs):
        one = factory.record(MADE, run, asked)
        wobble = 1.0 + noise * math.sin(7.0 * run.seed + len(run.arm))
        second = UPDATE[run.arm] * wobble
        n = run.last_update
        assert one.timing is not None
        excess = {"eager": 0.0, "blocks": later, "whole": 40.0}[run.arm]
        seconds = (second + excess, *(second,) * (n - 1))
        timing = one.timing.model_copy(
            update={
                "update_seconds": seconds, "update_seconds_sum": math.fsum(seconds),
                "steady_tokens_per_second": run.config.tokens_per_update / second,
                "setup_seconds": FIXED["eager"],
                "wall_seconds": FIXED["eager"] + 2 * math.fsum(seconds),
                "timed": True, "compile_seconds": 0.0,
                "launch": launch_of(**{"place": place, **change(run, place)}),
            }
        )  # fmt: skip
        ends = tuple(
            end.model_copy(update={"val_loss": 5.0 + 0.01 * run.seed + loss(run)})
            for end in one.ends
        )  # one seed's losses are alike in all arms
        found.append(one.model_copy(update={"timing": timing, "ends": ends}))
    return found


def section(records: list[Record]) -> Section:
    (found,) = sections(records)
    return found


def test_the_plan_interleaves():
    order = [(run.seed, run.last_update, run.arm) for run in MADE.runs]
    arms = ["eager", "blocks", "whole"]
    short, long = LENGTHS["proxy"]
    assert order[:6] == [(0, n, arm) for n in (short, long) for arm in arms]
    assert order[6:12] == [(1, n, arm) for n in (long, short) for arm in arms[::-1]]
    assert {run.stage for run in MADE.runs} == {"train-short", "train-long"}
    assert all(run.parent is None and run.first_update == 0 for run in MADE.runs)
    assert len({run.key for run in MADE.runs}) == len(MADE.runs) == 30


def test_a_clean_campaign_gives_ratio_fit_and_break_even():
    one = section(campaign())
    blocks = launches.compared(one)["blocks"]
    assert blocks.reason is None
    value, (low, high) = blocks.ratio
    # The arms' wobbles over blocks differ by up to 0.4 %.
    assert value == pytest.approx(1.25, rel=0.005)
    assert low < 1.25 < high
    assert blocks.log_ratio.n == 5
    line = launches.arm(one, "blocks").line
    assert (line.fixed, line.steady) == pytest.approx((25.0, 0.40), rel=0.01)
    # Planted at 200 updates, where launches of 48 show nothing but that it is not sooner.
    assert blocks.crossing.text == "not within 72 updates"
    near = launches.compared(section(campaign(later=4.0)))["blocks"]
    assert near.crossing.updates == pytest.approx(40.0, rel=0.02)
    low, high = near.crossing.interval
    assert low < 40.0 < high < 45.0
    table = throughput.tables(one)[0]
    cells = table.cells()
    assert cells[f"{table.name}/blocks/launches"].text == "10 of 10"
    assert cells[f"{table.name}/blocks/ratio"].text.startswith("1.2")
    assert cells[f"{table.name}/eager/ratio"].text == throughput.REFERENCE
    assert len(throughput.tables(one)) == 1


@pytest.mark.parametrize("arms", [2, 6])
def test_equal_rates_are_called_different_in_at_most_six_percent_of_families(arms):
    """Simulated: every arm as fast as the reference, machine and launches wobbling by 5 %; the
    arms share the reference's noise, as they do in a campaign."""
    rng = np.random.default_rng(arms)
    wobble = np.log(1.0 + rng.normal(0.0, 0.05, (2000, arms + 1, 5)))
    false = 0
    for of_arms in wobble[:, 1:] - wobble[:, :1]:
        family = {str(i): t_interval(list(values)) for i, values in enumerate(of_arms)}
        verdicts = judge(family, lower_is_better=False).values()
        false += any(one.kind != "no detectable difference" for one in verdicts)
    # Nominal 5 %, less for arms that share a reference; unadjusted, six arms come to 20 %.
    assert 0.01 <= false / 2000 <= 0.06


def test_rates_of_a_question_share_their_error_and_the_interval_goes_with_the_verdict():
    """Two arms, each of which would pass 5 % alone."""
    slower = {"blocks": 0.03, "whole": 0.031}
    steps = (0.0, 0.014, -0.025, 0.055, 0.036)

    def pace(run):
        return 1.0 + (slower[run.arm] + steps[run.seed] if run.arm in slower else 0.0)

    records = [
        r.model_copy(
            update={
                "timing": r.timing.model_copy(
                    update={
                        "steady_tokens_per_second": r.tokens_per_update / (0.5 * pace(r)),
                        "update_seconds_sum": 0.5 * pace(r) * r.last_update,
                    }
                )
            }
        )
        for r in campaign()
    ]
    found = launches.compared(section(records))
    for one in found.values():
        assert 0.025 < one.log_ratio.p_value < 0.05
        assert one.verdict == "no detectable difference"
        assert one.log_ratio.level == pytest.approx(0.975)
        low, high = one.ratio[1]
        assert low < 1.0 < high
        assert one.detectable > 1.0
        assert one.crossing.updates is None
    table = throughput.tables(section(records))[0]
    assert "blocks 97.5 %, whole 97.5 %" in table.notes[-1]


def cell(one: Section, column: str, arm: str = "blocks") -> str:
    table = throughput.tables(one)[0]
    return table.cells()[f"{table.name}/{arm}/{column}"].text


def test_contaminated_launches_are_rows_and_are_left_out():
    reason = "other processes kept 0.90 cores busy during the run"

    def busy(run: Any, place: int) -> dict[str, Any]:
        dirty = (run.arm, run.seed) == ("blocks", 2)
        return {"contaminated": reason} if dirty else {}

    one = section(campaign(busy))
    assert cell(one, "launches") == "8 of 10"
    assert cell(one, "ratio") == (
        "contaminated: 2 of 20 launches, which leaves 4 of at least 5 blocks"
    )
    assert cell(one, "break_even") == "contaminated"
    assert launches.compared(one)["whole"].reason is None  # its own pairs are whole
    _, rows = throughput.tables(one)
    assert {row.name for row in rows.rows} == {"blocks/2/train-short", "blocks/2/train-long"}
    assert rows.cells()[f"{rows.name}/blocks/2/train-short/reason"].text == (
        f"contaminated: {reason}"
    )
    data = totals(one)
    assert sum(not point.counted for point in data.points) == 2


def test_launches_that_were_not_interleaved_are_not_comparable():
    order = {arm: i for i, arm in enumerate(("eager", "blocks", "whole"))}
    one = section(campaign(lambda run, place: {"place": 100 * order[run.arm] + place}))
    assert cell(one, "ratio") == (
        "not comparable: 10 pairs of launches were not interleaved, 0 of at least 5 blocks left"
    )


def test_launches_of_two_campaigns_are_not_comparable():
    one = section(campaign(lambda run, place: {"campaign": run.arm}))
    assert "were not interleaved" in cell(one, "ratio")


def test_launches_of_two_generations_of_one_product_are_not_comparable():
    records = campaign()
    other = records[0].hardware.model_copy(update={"cpu": "another generation"})
    moved = [r.model_copy(update={"hardware": other}) if r.seed == 4 else r for r in records]
    assert cell(section(moved), "ratio") == "not comparable: launches on 2 kinds of machine"


def test_a_speed_up_that_costs_loss_is_not_shown():
    one = section(campaign(loss=lambda run: 0.03 * (run.arm == "blocks")))
    assert cell(one, "ratio") == (
        "not comparable: loss differs by +0.0300 to +0.0300 nats, margin 0.02"
    )
    assert cell(one, "break_even") == "not comparable"
    within = section(campaign(loss=lambda run: 0.01 * (run.arm == "blocks")))
    assert launches.compared(within)["blocks"].reason is None


def test_training_runs_give_no_ratio():
    records = [
        r.model_copy(
            update={"timing": r.timing.model_copy(update={"timed": False, "launch": None})}
        )
        for r in campaign()
    ]
    one = section(records)
    assert cell(one, "ratio") == "not comparable: not timed"
    assert cell(one, "launches") == "0 of 10"
    assert cell(one, "fixed") == "not measured"


def test_a_lost_launch_takes_its_block_only():
    records = [
        r for r in campaign() if (r.arm, r.seed, r.stage) != ("blocks", 0, "train-short")
    ]  # fmt: skip
    one = section(records)
    # The block's other length still pairs.
    assert launches.compared(one)["blocks"].log_ratio.n == 5
    none = section([r for r in records if (r.arm, r.seed) != ("blocks", 0)])
    assert cell(none, "ratio") == "not comparable: 4 of at least 5 blocks"


def test_drawing_is_repeatable_with_and_without_what_does_not_count():
    from harness.report.draw.lines import draw_totals

    for one in (section(campaign()), section(campaign(lambda run, place: {"campaign": run.arm}))):
        data = totals(one)
        assert draw_totals(data) == draw_totals(data)
