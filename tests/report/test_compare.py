"""`smol compare`: the card's own differences and verdicts, and a refusal of the rest."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import RequestError
from harness.report.compare import compare
from tests.report import factory, test_throughput

RECORDS = factory.campaign()
TUNED = [*RECORDS, *factory.search()]


def test_it_says_what_the_card_says_of_a_pair_of_the_question():
    tokens, _ = compare(RECORDS, "dense_vs_moe/dense", "dense_vs_moe/moe-active", "smoke")
    assert tokens.horizon == "tokens"
    assert tokens.pairs == 3
    assert tokens.verdict.startswith("not comparable: untuned")
    assert not tokens.comparable
    assert tokens.difference is None
    assert "0." not in tokens.text


def test_the_other_way_round_changes_the_sign_alone():
    there = compare(TUNED, "dense_vs_moe/dense", "dense_vs_moe/moe-total", "smoke")
    back = compare(TUNED, "dense_vs_moe/moe-total", "dense_vs_moe/dense", "smoke")
    for a, b in zip(there, back, strict=True):
        assert a.difference == pytest.approx(-b.difference)
        assert a.half_width == pytest.approx(b.half_width)


def test_a_pair_of_the_question_has_its_verdict_either_way_round() -> None:
    five = [*factory.campaign(scale="proxy", seeds=5), *factory.search("proxy")]
    names = "dense_vs_moe/dense", "dense_vs_moe/moe-active"
    for better, worse, new in (
        ("better", "worse", [5.9, 5.99, 6.1, 6.0, 5.9]),
        ("no detectable difference",) * 2 + ([6.1, 6.1, 6.3, 6.1, 6.2],),
    ):
        old = [6.0, 6.1, 6.2, 6.1, 6.0]
        records = factory.with_losses(five, {"dense": old, "moe-active": new})
        there, back = (compare(records, *pair, "proxy")[0] for pair in (names, names[::-1]))
        assert (there.verdict, back.verdict) == (better, worse)
        assert back.comparable
        assert back.difference == pytest.approx(-there.difference)
        same = ("half_width", "pairs", "paired_sd", "detectable", "horizon")
        assert [getattr(there, f) for f in same] == [getattr(back, f) for f in same]
        sd = float(np.std(np.subtract(new, old), ddof=1))
        assert there.paired_sd == pytest.approx(sd)
        assert f"; paired sd {sd:.4f}; detectable {there.detectable:.4f}; " in there.text
        assert there.text.endswith(f"; interval over seeds alone: {better}")


def test_two_records_are_never_a_verdict():
    dense, moe = (factory.of(RECORDS, arm, 0, "decay-tokens") for arm in ("dense", "moe-active"))
    for one in compare(RECORDS, dense.key, moe.key, "smoke"):
        assert one.verdict == "not comparable: one run against one run"


def test_two_records_of_other_texts_have_no_difference_and_all_else_is_named():
    one = factory.of(RECORDS, "dense", 0, "decay-tokens")
    other = factory.of(RECORDS, "moe-active", 1, "decay-tokens").model_copy(
        update={"scale": "proxy", "data": one.data.model_copy(update={"tokenizer_digest": "t1"})}
    )
    for found in compare([one, other], one.key, other.key, "smoke"):
        assert found.difference is None
        assert found.verdict == (
            "not comparable: one run against one run; other tokenizer; other scale; other seed"
        )


def test_keys_are_not_taken_for_arms():
    key = factory.of(RECORDS, "dense", 0, "decay-tokens").key
    with pytest.raises(RequestError, match="no record of key 'nothing'"):
        compare(RECORDS, key, "nothing", "smoke")
    with pytest.raises(RequestError, match="one record, not two"):
        compare(RECORDS, key, key, "smoke")


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


def test_the_scale_that_an_arm_was_run_at_is_named():
    with pytest.raises(RequestError, match="at scale full; it was run at scale smoke"):
        compare(RECORDS, "dense_vs_moe/dense", "dense_vs_moe/moe-active", "full")


def test_another_metric_than_the_question_is_exploratory():
    names = "dense_vs_moe/dense", "dense_vs_moe/moe-active"
    losses = compare(TUNED, *names, "smoke", "val_loss")
    assert losses == compare(TUNED, *names, "smoke")
    bits = compare(TUNED, *names, "smoke", "bits_per_byte")
    assert [one.verdict for one in bits] == ["exploratory, no verdict"] * len(losses)
    bits_a_nat = factory.VAL_TOKENS / math.log(2) / factory.VAL_BYTES
    for loss, bit in zip(losses, bits, strict=True):
        assert bit.difference == pytest.approx(loss.difference * bits_a_nat)
    with pytest.raises(RequestError, match="unknown metric 'val_los'; did you mean 'val_loss'"):
        compare(RECORDS, *names, "smoke", "val_los")


def test_rates_are_ratios_and_invert():
    timed = test_throughput.campaign()
    names = "compile_breakeven/eager", "compile_breakeven/blocks"
    (one,) = compare(timed, *names, "proxy")
    (other,) = compare(timed, *reversed(names), "proxy")
    assert one.verdict == "faster"
    assert other.verdict == "slower"
    assert one.ratio == pytest.approx(0.50 / 0.40, rel=0.01)
    assert one.ratio * other.ratio == pytest.approx(1.0)
    assert one.interval[0] * other.interval[1] == pytest.approx(1.0)
    assert f"; detectable {one.detectable:.3f}: faster" in one.text
    with pytest.raises(RequestError, match="paired with those of 'eager'"):
        compare(timed, "compile_breakeven/whole", "compile_breakeven/blocks", "proxy")


def test_rates_of_untimed_runs_are_not_compared():
    (one,) = compare(
        RECORDS, "dense_vs_moe/dense", "dense_vs_moe/moe-active", "smoke", "tokens_per_second"
    )
    assert one.ratio is None
    assert one.verdict == "not comparable: the recipe does not time its runs"
