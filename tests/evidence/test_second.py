"""A second text at the endpoints: its paired difference, and what it says of the first's sign."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.evidence.differences import Difference
from harness.evidence.endpoints import Reached
from harness.evidence.pairing import Pairs
from harness.records.schema import SecondScore
from harness.stats.inference import Estimate, t_interval

TOKENS = tuple(range(50, 90))


def end(arm: str, seed: int, gain: float, other: float) -> Reached:
    """An arm's endpoint whose second text is `other` nats a token above a base that seeds share."""
    nats = np.array(TOKENS) * (5.0 + 0.1 * seed + other) + np.random.default_rng(seed).normal(
        0.0, 0.2, len(TOKENS)
    )
    second = SecondScore(
        loss=float(nats.sum() / sum(TOKENS)), bits_per_byte=None,
        document_nats=tuple(nats), document_tokens=TOKENS,
    )  # fmt: skip
    return Reached(
        path=f"{arm}{seed}", arm=arm, seed=seed, horizon="tokens", update=1, tokens=1, flops=None,
        seconds=1.0, val_loss=4.0 + 0.1 * seed + gain, bits_per_byte=None, epochs=None,
        unigram=None, unigram_bits=None, created="", second=second,
    )  # fmt: skip


def pairs(other: float) -> Pairs:
    return Pairs(tuple(
        (end("a", seed, 0.0, 0.0), end("b", seed, -0.1 + 0.01 * seed, other + 0.002 * seed))
        for seed in range(5)
    ))  # fmt: skip


def said(second: Estimate | None) -> Difference:
    value = t_interval([-0.1, -0.09, -0.11])
    return Difference("b", "b", "a", "tokens", True, value, None, (), second=second)


@pytest.mark.parametrize(
    ("other", "agrees"), [(-0.05, "same sign"), (0.05, "other sign"), (-0.004, "not resolved")]
)
def test_the_second_text_agrees_turns_or_leaves_open(other: float, agrees: str) -> None:
    found = pairs(other).second()
    assert found is not None
    assert found.mean == pytest.approx(other + 0.004, abs=1e-9)
    assert found.shares is not None
    one = said(found)
    assert one.agrees == agrees
    assert one.turned().agrees == agrees
    assert one.turned().second == found.turned()


def test_without_a_second_text_at_every_endpoint_nothing_is_said() -> None:
    whole = pairs(-0.05)
    bare = dataclasses.replace(whole.ends[0][1], second=None)
    cut = dataclasses.replace(whole, ends=((whole.ends[0][0], bare), *whole.ends[1:]))
    assert cut.second() is None
    assert said(None).agrees is None
