"""Equivalence and worth in tokens against planted truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.stats import inference as st
from harness.stats import tokens

EXPERIMENTS = 2000
"""The standard error of a rate of 5 % is then 0.5 %."""
SD = 0.01


def _kinds(difference: float, margin: float, estimated: bool) -> list[str]:
    """The verdicts on experiments of five seeds with a planted true difference; the margin is
    declared, or estimated seed by seed with an error of a fifth."""
    draws = np.random.default_rng(3)
    values = draws.normal(difference, SD, (EXPERIMENTS, 5))
    sizes = margin * (1.0 + 0.2 * draws.standard_normal(values.shape))
    found = []
    for row, size in zip(values, sizes, strict=True):
        one = st.t_interval(list(row))
        bound = st.Margin.fixed(margin, one)
        if estimated:
            bound = st.Margin(
                float(size.mean()), st.t_interval(list(row + size)), st.t_interval(list(row - size))
            )
        verdict = st.judge({"x": one}, margins={"x": bound})["x"]
        turned = st.judge({"x": one.turned()}, margins={"x": bound.turned()})["x"]
        assert (verdict.kind == "equivalent") == (turned.kind == "equivalent")
        found.append(verdict.kind)
    return found


@pytest.mark.parametrize("estimated", [False, True])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_difference_of_the_margin_is_called_equivalent_in_at_most_five_percent(
    sign: float, estimated: bool
) -> None:
    kinds = _kinds(sign * 3 * SD, 3 * SD, estimated)
    assert kinds.count("equivalent") / EXPERIMENTS <= 0.05 + 3 * 0.005


def test_arms_that_are_alike_are_mostly_called_so() -> None:
    kinds = _kinds(0.0, 3 * SD, estimated=False)
    # Five pairs, half-width of the 90 % interval 0.95 sd at the mean spread: surely within 3.
    assert kinds.count("equivalent") / EXPERIMENTS > 0.9
    assert kinds.count("better") + kinds.count("worse") <= 0.065 * EXPERIMENTS


def test_the_verdict_names_its_margin_and_a_detected_difference_stays_one() -> None:
    tiny = st.t_interval([-0.0010, -0.0011, -0.0009, -0.0010, -0.0010])
    assert st.judge({"x": tiny}, margins={"x": st.Margin.fixed(0.1, tiny)})["x"].kind == "better"
    noise = st.t_interval([-0.001, 0.002, 0.0, 0.001, -0.001])
    said = st.judge({"x": noise}, margins={"x": st.Margin.fixed(0.01, noise)})["x"]
    assert said.text == "equivalent within ±0.0100"
    assert st.judge({"x": noise})["x"].text == "no detectable difference"
    wide = {"x": st.Margin.fixed(0.001, noise)}
    assert st.judge({"x": noise}, margins=wide)["x"].kind == "no detectable difference"
    barred = st.judge({"x": noise}, margins={"x": st.Margin.fixed(1.0, noise)}, barred={"x": "no"})
    assert barred["x"].text == "not comparable: no"


def test_the_worth_in_tokens_covers_the_truth() -> None:
    """A curve of slope 0.7 and a true gain of 5 % more tokens, five seeds."""
    draws = np.random.default_rng(5)
    truth = math.log(1.05)
    values = draws.normal(-0.7 * truth, SD, (EXPERIMENTS, 5))
    slopes = draws.normal(0.7, 0.1, values.shape)
    covered = resolved = 0
    for row, steep in zip(values, slopes, strict=True):
        found = tokens.worth(st.t_interval(list(row)), list(row), list(steep))
        if found.interval is not None:
            resolved += 1
            covered += found.interval[0] <= truth <= found.interval[1]
    assert resolved > 0.99 * EXPERIMENTS
    assert 0.935 <= covered / resolved <= 0.965


def test_worth_in_words_and_refusals() -> None:
    assert tokens.Worth((math.log(1.04), math.log(1.07))).text == "4 to 7 % more tokens"
    assert tokens.Worth((math.log(0.93), math.log(0.96))).text == "4 to 7 % fewer tokens"
    both = tokens.Worth((math.log(0.97), math.log(1.05))).text
    assert both == "between 3 % fewer tokens and 5 % more tokens"
    assert tokens.Worth((1.0, 1.2)).text == "more than twice the tokens"
    assert tokens.Worth((-1.2, -1.0)).text == "less than half the tokens"
    assert tokens.Worth((math.log(1.5), 1.0)).text == "at least 50 % more tokens"
    row = [-0.01, -0.012, -0.011]
    for steep, why in (
        ([0.5, None, 0.5], "no two validations"),
        ([0.5, -0.5, 0.1], "within its error"),
        ([0.5, 0.5], "needs 3 seeds"),
    ):
        values = row[: len(steep)]
        assert why in tokens.worth(st.t_interval(values), values, steep).text


def test_the_local_slope_is_the_chord_before_the_horizon() -> None:
    points = [(100, 6.0), (200, 5.5), (400, 5.2), (800, 5.0)]
    assert tokens.local_slope(points, 500) == pytest.approx(0.3 / math.log(2))
    assert tokens.local_slope(points, 1600) == pytest.approx(0.2 / math.log(2))
    assert tokens.local_slope(points, 1700) is None  # further than a doubling
    assert tokens.local_slope(points, 150) is None
