"""The spreads that are carried over to a question that is yet to be asked."""

from __future__ import annotations

import statistics

import pytest

from harness.evidence import spreads
from harness.evidence.pairing import METRIC
from tests.report.factory import campaign


def test_the_spread_is_that_of_the_paired_differences():
    records = campaign("proxy", 5)
    (found,) = spreads.paired(records)
    assert (found.scale, found.against, found.arm, found.pairs) == (
        "proxy",
        "dense",
        "moe-active",
        5,
    )
    losses = {
        (r.arm, r.seed): getattr(end, METRIC)
        for r in records for end in r.ends if end.horizon == "tokens"
    }  # fmt: skip
    differences = [losses["moe-active", s] - losses["dense", s] for s in range(5)]
    assert found.sd == pytest.approx(statistics.stdev(differences))


def test_the_largest_scale_counts_and_too_few_pairs_do_not():
    small, large = campaign("smoke", 3), campaign("proxy", 5)
    assert {s.scale for s in spreads.paired([*small, *large])} == {"proxy"}
    assert {s.scale for s in spreads.paired(small)} == {"smoke"}
    assert spreads.paired(campaign("proxy", 2)) == []
    assert spreads.paired([]) == []


def test_spreads_of_much_shorter_runs_are_left_out(monkeypatch):
    large = campaign("proxy", 5)
    short = [
        r.model_copy(
            update={
                "recipe": "other",
                "ends": tuple(e.model_copy(update={"tokens": e.tokens // 4}) for e in r.ends),
            }
        )
        for r in large
    ]
    assert {s.section for s in spreads.paired([*large, *short])} == {"dense_vs_moe.proxy.cpu"}
