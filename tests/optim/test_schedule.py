"""Schedules count updates, end where they say, and branch without a jump."""

import itertools

import pytest

from harness.config import ScheduleConfig
from harness.optim.schedule import factor

WSD = ScheduleConfig(name="wsd", warmup_updates=4, decay_fraction=0.2, final_fraction=0.0)
COSINE = ScheduleConfig(name="cosine", warmup_updates=4, decay_fraction=0.2, final_fraction=0.1)


def test_warmup_moves_at_once_and_then_stays():
    assert [factor(WSD, u, None, 100) for u in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_wsd_falls_linearly_to_zero_after_the_last_update():
    values = [factor(WSD, u, 80, 100) for u in range(78, 101)]
    assert values[:3] == [1.0, 1.0, 1.0]
    assert values[-1] == 0.0
    steps = [a - b for a, b in itertools.pairwise(values[2:])]
    assert steps == pytest.approx([0.05] * 20)


def test_a_stem_never_falls():
    assert {factor(WSD, u, None, 100) for u in range(4, 200)} == {1.0}


def test_cosine_halves_midway_and_ends_at_its_final_fraction():
    assert factor(COSINE, 4, 4, 104) == 1.0
    assert factor(COSINE, 54, 4, 104) == pytest.approx(0.55)
    assert factor(COSINE, 104, 4, 104) == pytest.approx(0.1)
