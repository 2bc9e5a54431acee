"""`smol compare`: the card's own differences and verdicts, and a refusal of the rest."""

from __future__ import annotations

import pytest

from harness.errors import RequestError
from harness.report.compare import compare
from tests.report import factory

RECORDS = factory.campaign()


def test_it_says_what_the_card_says_of_a_pair_of_the_question():
    tokens, _ = compare(RECORDS, "dense_vs_moe/dense", "dense_vs_moe/moe-active", "smoke")
    assert tokens.horizon == "tokens"
    assert tokens.pairs == 3
    assert tokens.verdict.startswith("not comparable: untuned")
    assert not tokens.comparable


def test_the_other_way_round_changes_the_sign_alone():
    there = compare(RECORDS, "dense_vs_moe/dense", "dense_vs_moe/moe-total", "smoke")
    back = compare(RECORDS, "dense_vs_moe/moe-total", "dense_vs_moe/dense", "smoke")
    for a, b in zip(there, back, strict=True):
        assert a.difference == pytest.approx(-b.difference)
        assert a.half_width == pytest.approx(b.half_width)


def test_two_records_are_never_a_verdict():
    dense, moe = (factory.of(RECORDS, arm, 0, "decay-tokens") for arm in ("dense", "moe-active"))
    for one in compare(RECORDS, dense.key, moe.key, "smoke"):
        assert one.verdict == "not comparable: one run against one run"


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("dense_vs_moe/dens", "dense_vs_moe/moe-total", "did you mean 'dense_vs_moe/dense'"),
        ("dense_vs_moe/dense", "dense_vs_moe/dense", "one arm, not two"),
        ("dense", "moe", "no arm 'dense'"),
    ],
)
def test_names_that_cannot_be_compared(first, second, words):
    with pytest.raises(RequestError, match=words):
        compare(RECORDS, first, second, "smoke")
