"""Verdicts as sentences: the numbers are the table's, and the scope stands beside them."""

from __future__ import annotations

import re

from harness.evidence.differences import differences
from harness.evidence.sections import sections
from harness.report.sentence import sentences
from tests.report import factory, test_throughput

OLD = [6.0, 6.1, 6.2, 6.1, 6.0]


def said(new: list[float]) -> tuple[str, float, float]:
    """The sentence, and the difference and half-width behind it."""
    five = [*factory.campaign(scale="proxy", seeds=5), *factory.search("proxy")]
    records = factory.with_losses(five, {"dense": OLD, "moe-active": new})
    section = next(s for s in sections(records) if s.recipe == "dense_vs_moe")
    one = next(d for d in differences(section) if d.primary)
    assert one.value.mean is not None
    assert one.value.half is not None
    (text,) = sentences(section)
    return text, one.value.mean, one.value.half


def test_a_better_arm_is_named_with_how_much_how_sure_and_where() -> None:
    text, mean, half = said([5.9, 5.99, 6.1, 6.0, 5.9])
    assert text.startswith(
        f"moe-active is better than dense by {-mean:.4f} nats a token, 95 % interval "
        f"{-mean - half:.4f} to {-mean + half:.4f}; 5 pairs; worth "
    )
    assert "% more tokens; at 1.80 times the minutes (not timed), " in text
    assert "; interval over seeds alone; true at proxy scale, " in text
    assert re.search(r"M parameters, [\d.]+ tokens a parameter, ", text)


def test_where_nothing_was_detected_it_says_what_would_have_been() -> None:
    text, mean, half = said([6.1, 6.1, 6.3, 6.1, 6.2])
    assert "no detectable difference" in text
    assert f"{mean - half:+.4f} to {mean + half:+.4f}" in text
    assert re.search(r"; 0\.\d{4} would have been found in 80% of cases; 5 pairs", text)


def test_what_cannot_be_compared_has_a_reason_and_no_number() -> None:
    section = next(s for s in sections(factory.campaign()) if s.recipe == "dense_vs_moe")
    assert sentences(section) == [
        "moe-active and dense cannot be compared: no equal search has chosen the learning rate "
        "and weight decay of each."
    ]


def test_a_question_of_rates_is_answered_in_times() -> None:
    section = next(
        s for s in sections(test_throughput.campaign()) if s.group.question.metric != "val_loss"
    )
    assert all(" times as fast as " in text for text in sentences(section))
