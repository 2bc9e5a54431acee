"""The referee's statistics, simulated without processes: false alarms, and what it announces."""

from __future__ import annotations

import numpy as np
import pytest

from harness.referee import judging
from harness.stats import inference

SPREAD = 0.02


def runs(rng: np.random.Generator, n: int, mean: float) -> dict[int, float]:
    return dict(enumerate(float(value) for value in rng.normal(mean, SPREAD, n)))


def kind(baseline: dict[int, float], candidate: dict[int, float], **changes: object) -> str:
    (judged,) = judging.judge(
        baseline, {"c": candidate}, seeds=range(len(baseline)), lower=True, **changes
    ).values()  # type: ignore[arg-type]
    return judged.verdict.kind


def test_a_script_against_itself_is_seldom_better_or_worse():
    rng = np.random.default_rng(3)
    kinds = [kind(runs(rng, 5, 2.0), runs(rng, 5, 2.0)) for _ in range(200)]
    assert sum(one in ("better", "worse") for one in kinds) <= 0.06 * len(kinds)


@pytest.mark.parametrize("floor", [3, 5, 12])
def test_the_announced_difference_is_found_in_four_of_five_cases(floor: int):
    """Also where the spread is known from three runs only, and so hardly known."""
    rng = np.random.default_rng(11)
    found = 0
    for _ in range(300):
        foresight = judging.foresee(list(runs(rng, floor, 2.0).values()), 5, 1)
        assert foresight is not None
        worth = 2.0 - foresight.detectable
        found += kind(runs(rng, 5, 2.0), runs(rng, 5, worth)) == "better"
    assert found / 300 == pytest.approx(0.80, abs=0.06)


def test_many_runs_announce_what_the_paired_test_can_detect():
    values = [2.0, 2.1] * 2000
    foresight = judging.foresee(values, 8, 1)
    assert foresight is not None
    exact = inference.detectable_difference(foresight.spread, 8)
    assert foresight.detectable == pytest.approx(exact, rel=1e-3)
    two = judging.foresee(values, 8, 2)
    assert two is not None
    assert two.detectable > foresight.detectable  # Holm over two candidates


def test_decisions():
    rng = np.random.default_rng(0)
    baseline = runs(rng, 6, 2.0)
    near = {seed: value - 0.004 + 0.01 * (-1) ** seed for seed, value in baseline.items()}
    judged = judging.judge(
        baseline,
        {
            "far": runs(rng, 6, 1.0), "worse": runs(rng, 6, 3.0), "near": near,
            "against": {s: v + 0.004 + 0.01 * (-1) ** s for s, v in baseline.items()},
            "few": {0: 1.0, 1: 1.1},
        },
        seeds=range(6), lower=True,
    )  # fmt: skip
    assert judged["far"].decision == "keep"
    assert judged["worse"].decision == judged["against"].decision == "discard"
    assert judged["few"].decision == "not known"
    assert "4 of 6 pairs are missing" in judged["few"].verdict.text
    # Interval and verdict are of one level, that of the step of Holm's procedure.
    assert judged["near"].difference.level == judged["near"].verdict.level
    low, high = judged["near"].difference.interval or (1.0, 1.0)
    assert low < 0.0 < high
    more = judged["near"].more
    assert more is not None
    assert judged["near"].decision == f"not known, {more} more pairs would tell"
    sd = judged["near"].difference.sd
    assert sd is not None
    # A family of four was judged: so many pairs find it, one pair less does not.
    level = 1 - 0.05 / 4
    assert inference.power_of(0.004, sd, more, level) >= 0.8
    assert inference.power_of(0.004, sd, more - 1, level) < 0.8


def test_below_three_pairs_there_is_no_verdict_and_higher_may_be_better():
    up = judging.judge({0: 1.0, 1: 1.1}, {"c": {0: 2.0, 1: 2.2}}, seeds=range(2), lower=False)["c"]
    assert up.verdict.kind == "not comparable"
    assert up.decision == "not known, 3 more pairs would tell"
    three = judging.judge(
        {0: 1.0, 1: 1.1, 2: 1.2}, {"c": {0: 2.0, 1: 2.2, 2: 2.1}}, seeds=range(3), lower=False
    )["c"]
    assert three.decision == "keep"
    assert three.verdict.preliminary
