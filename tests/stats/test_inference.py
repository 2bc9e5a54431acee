"""Intervals against scipy.stats, edges, power by simulation, and the false-alarm rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.stats import inference as st

# Both sides compute the same quantile by the same Cephes/Boost routines: only rounding differs.
EXACT = 1e-9


@pytest.mark.parametrize("n", [2, 3, 4, 5, 30])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_intervals_agree_with_scipy(n: int, level: float) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(6, 0.1, n), rng.normal(5.9, 0.1, n)
    ours = st.paired_difference(list(a), list(b), level)
    theirs = stats.ttest_rel(b, a)
    expected = theirs.confidence_interval(level)
    assert ours.interval == pytest.approx((expected.low, expected.high), abs=EXACT)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=EXACT)
    assert ours.df == n - 1
    alone = st.t_interval(list(a), level)
    low, high = stats.t.interval(level, n - 1, loc=a.mean(), scale=stats.sem(a))
    assert alone.interval == pytest.approx((low, high), abs=EXACT)
    assert alone.sd == pytest.approx(a.std(ddof=1), abs=EXACT)


def test_edge_sizes() -> None:
    nothing, one = st.t_interval([]), st.t_interval([6.5])
    assert (nothing.n, nothing.mean, nothing.interval, nothing.p_value) == (0, None, None, None)
    assert (one.n, one.mean, one.half, one.interval, one.p_value) == (1, 6.5, None, None, None)
    two = st.t_interval([1.0, 3.0])
    assert two.half == pytest.approx(12.706204736432095, abs=EXACT)  # t(0.975; 1) x 1
    three = st.t_interval([1.0, 2.0, 3.0])
    assert three.half == pytest.approx(4.302652729911275 / math.sqrt(3), abs=EXACT)
    same = st.t_interval([2.0, 2.0, 2.0])
    assert (same.half, same.p_value) == (0.0, 0.0)
    assert st.t_interval([0.0, 0.0]).p_value == 1.0
    for values in ([1.0, math.nan], [math.inf]):
        with pytest.raises(ValueError, match="finite"):
            st.t_interval(values)
    with pytest.raises(ValueError, match="equally many"):
        st.paired_difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="level"):
        st.t_interval([1.0], 95)


def test_holms_levels_by_hand() -> None:
    # Steps for m = 4: 0.005 passes 0.05 / 4, 0.01 passes 0.05 / 3, 0.03 stops at 0.05 / 2.
    levels = st.holm_levels([0.01, 0.04, 0.03, 0.005])
    assert levels == pytest.approx([1 - 0.05 / 3, 0.975, 0.975, 0.9875])
    assert st.holm_levels([]) == []
    assert st.holm_levels([0.7, 0.9]) == [0.975, 0.975]


def test_an_interval_at_the_level_of_its_verdict_never_contradicts_it() -> None:
    rng = np.random.default_rng(7)
    seen = set()
    for _ in range(300):
        family = {
            str(i): st.t_interval(list(rng.normal(effect, 1.0, 5)))
            for i, effect in enumerate((0.0, 1.0, 1.5, 2.0))
        }
        # Bonferroni-Holm as it is usually written: p-values made larger, then compared with 5 %.
        adjusted = dict(zip(family, _adjusted([e.p_value for e in family.values()]), strict=True))
        for name, verdict in st.judge(family).items():
            low, high = family[name].at(verdict.level).interval
            assert (low <= 0.0 <= high) == (verdict.kind == "no detectable difference")
            assert (adjusted[name] > 0.05) == (verdict.kind == "no detectable difference")
            seen.add(round(verdict.level, 4))
    assert seen == {0.9875, 0.9833, 0.975, 0.95}


def _adjusted(p_values: list[float]) -> list[float]:
    ranked, m = sorted(p_values), len(p_values)
    return [
        max(min(1.0, (m - k) * q) for k, q in enumerate(ranked[: ranked.index(p) + 1]))
        for p in p_values
    ]


@pytest.mark.parametrize("n", [3, 5, 12])
def test_a_detectable_difference_is_found_in_80_percent(n: int) -> None:
    sd = 0.05
    difference = st.detectable_difference(sd, n)
    assert difference is not None
    rng = np.random.default_rng(0)
    draws = rng.normal(difference, sd, (40_000, n))
    t = draws.mean(1) / (draws.std(1, ddof=1) / math.sqrt(n))
    found = np.mean(np.abs(t) > stats.t.ppf(0.975, n - 1))
    # The standard error of a rate of 0.8 over 40,000 draws is 0.002; four of them.
    assert found == pytest.approx(0.80, abs=0.008)


def test_detectable_difference_at_the_edges() -> None:
    assert st.detectable_difference(0.1, 1) is None
    assert st.detectable_difference(0.0, 5) == 0.0
    with pytest.raises(ValueError, match="not negative"):
        st.detectable_difference(-1.0, 5)
    wide, narrow = st.detectable_difference(0.1, 3), st.detectable_difference(0.1, 30)
    assert wide is not None
    assert narrow is not None
    assert wide > 4 * narrow


def _verdict(values: list[float], **options: object) -> st.Verdict:
    return st.judge({"x": st.t_interval(values)}, **options)["x"]  # type: ignore[arg-type]


def test_the_verdicts() -> None:
    better = _verdict([-0.10, -0.11, -0.09, -0.10, -0.10])
    assert (better.text, better.preliminary) == ("better", False)
    assert _verdict([0.10, 0.11, 0.09, 0.10, 0.10]).text == "worse"
    assert _verdict([0.10, 0.11, 0.09, 0.10, 0.10], lower_is_better=False).text == "better"
    nothing = _verdict([-0.10, 0.11, 0.01, -0.02, 0.05])
    assert nothing.kind == "no detectable difference"
    assert nothing.detectable is not None
    assert nothing.detectable > 0.05
    assert _verdict([-0.10, -0.11]).text == "not comparable: 2 pairs, at least 3 needed"
    assert _verdict([-0.10]).text == "not comparable: 1 pair, at least 3 needed"
    assert _verdict([]).text == "not comparable: 0 pairs, at least 3 needed"
    assert _verdict([-0.10, -0.11, -0.09]).text == "better (preliminary, 3 pairs)"
    assert "no noise to judge by" in _verdict([-0.25] * 5).text
    assert _verdict([0.0] * 5).text == "no detectable difference"
    untuned = _verdict([-0.10, -0.11, -0.09, -0.10, -0.10], barred={"x": "untuned"})
    assert untuned.text == "not comparable: untuned"
    assert untuned.detectable is not None


def test_several_pairs_share_the_error_and_barred_ones_take_none_of_it() -> None:
    close = st.t_interval([-0.10, -0.02, -0.06, -0.11, -0.01])
    assert close.p_value is not None
    assert 0.025 < close.p_value < 0.05
    twice = {"a": close, "b": close}
    assert {v.kind for v in st.judge(twice).values()} == {"no detectable difference"}
    alone = st.judge(twice, barred={"b": "untuned"})
    assert (alone["a"].kind, alone["b"].kind) == ("better", "not comparable")


EXPERIMENTS = 2000
"""The standard error of a rate near 5 % is then 0.5 %, and of one near 80 % it is 0.9 %."""


def experiments(difference: float, sd: float, seeds: int, rng: int) -> list[st.Verdict]:
    """Simulated truth: losses of two arms that share each seed's luck, and the verdicts on them.

    `sd` is that of a pair's difference; each arm adds half of its variance of its own.
    """
    draws = np.random.default_rng(rng)
    luck = draws.normal(6.0, 0.05, (EXPERIMENTS, seeds))
    reference = luck + draws.normal(0.0, sd / math.sqrt(2), luck.shape)
    arm = luck + difference + draws.normal(0.0, sd / math.sqrt(2), luck.shape)
    return [
        st.judge({"x": st.paired_difference(list(a), list(b))})["x"]
        for a, b in zip(reference, arm, strict=True)
    ]


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_no_difference_is_called_one_in_at_most_six_percent(seeds: int) -> None:
    alarms = [v for v in experiments(0.0, 0.03, seeds, 1) if v.kind in ("better", "worse")]
    assert len(alarms) / EXPERIMENTS <= 0.06
    # A test that never spoke up would pass the above: nominal 5 %, less four standard errors.
    assert len(alarms) / EXPERIMENTS >= 0.03


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_a_difference_of_the_detectable_size_is_found_in_80_percent(seeds: int) -> None:
    size = st.detectable_difference(0.03, seeds)  # from the simulation's true spread
    assert size is not None
    worse = [v for v in experiments(size, 0.03, seeds, 2) if v.kind == "worse"]
    better = [v for v in experiments(-size, 0.03, seeds, 3) if v.kind == "better"]
    for found in (worse, better):
        assert len(found) / EXPERIMENTS == pytest.approx(0.80, abs=0.03)


def test_the_only_difference_of_several_pairs_is_found_in_80_percent() -> None:
    draws = np.random.default_rng(5)
    sizes = st.judge({str(i): st.t_interval([-0.01, 0.01, 0.0, 0.01, -0.01]) for i in range(3)})
    size, found = sizes["0"].detectable, 0
    assert size is not None
    spread = float(np.std([-0.01, 0.01, 0.0, 0.01, -0.01], ddof=1))
    for _ in range(EXPERIMENTS):
        family = {str(i): st.t_interval(list(draws.normal(0.0, spread, 5))) for i in range(2)}
        family["real"] = st.t_interval(list(draws.normal(size, spread, 5)))
        found += st.judge(family)["real"].kind == "worse"
    # Never less; a little more, since Holm's later steps are milder once a pair has passed.
    assert 0.77 <= found / EXPERIMENTS <= 0.85


def test_a_false_alarm_is_no_likelier_among_several_pairs() -> None:
    draws = np.random.default_rng(4)
    alarms = 0
    for _ in range(EXPERIMENTS):
        family = {str(i): st.t_interval(list(draws.normal(0.0, 0.03, 5))) for i in range(3)}
        alarms += any(v.kind in ("better", "worse") for v in st.judge(family).values())
    assert 0.03 <= alarms / EXPERIMENTS <= 0.06


def test_two_seeds_never_say_anything() -> None:
    found = experiments(10.0, 0.03, 2, 5)
    assert {v.text for v in found} == {"not comparable: 2 pairs, at least 3 needed"}
