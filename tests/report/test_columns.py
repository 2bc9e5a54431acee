"""How the values of runs become a cell."""

from __future__ import annotations

from harness.report.columns import same


def test_runs_that_do_not_agree_show_numbers_and_words_alike():
    """As where torch counted one run's FLOPs and not another's: 9 stands before 10."""
    cell = same()(["not known", 10.0, 9.0, "not known"], ["a", "b"], "FLOPs")
    assert cell.text == "9.0, 10.0, not known"
