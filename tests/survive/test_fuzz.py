"""Fuzzed inputs: exit codes of the contract, one clear line, no traceback, nothing changed on 2."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.survive import fuzzing
from tests.survive.fuzzing import Fuzz

SHARE_OF_LINES = 0.3
QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


def all_of(fuzz: Fuzz, inputs: int, *, derandomize: bool) -> None:
    """That many inputs; every fault is told, not only the first."""
    targets = fuzzing.targets(fuzz)

    @settings(
        max_examples=inputs, derandomize=derandomize, deadline=None, database=None,
        suppress_health_check=QUIET, phases=[Phase.generate],
    )  # fmt: skip
    @given(seed=st.integers(0, 2**64 - 1), line=st.floats(0, 1), which=st.integers(0, 10**6))
    def one(seed: int, line: float, which: int) -> None:
        chance = random.Random(seed)
        if line < SHARE_OF_LINES:
            fuzzing.command_line(fuzz, chance)
        else:
            fuzzing.document(fuzz, targets[which % len(targets)], chance)
        if (done := sum(fuzz.done.values())) % 500 == 0:
            print(f"fuzzed inputs: {done} of {inputs}, {len(fuzz.faults)} faults", flush=True)

    one()
    print("\n".join(fuzz.lines()))
    assert fuzz.faults == []


def test_some_dozens(fuzz: Fuzz) -> None:
    all_of(fuzz, 60, derandomize=True)


@pytest.mark.survive
@pytest.mark.timeout(3600)
def test_ten_thousand(fuzz: Fuzz) -> None:
    all_of(fuzz, 10_000, derandomize=False)
