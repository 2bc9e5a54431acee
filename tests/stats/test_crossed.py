"""Intervals over seeds and documents, crossed, against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from harness.stats.crossed import crossed_difference
from harness.stats.inference import Estimate, judge, t_interval

EXPERIMENTS = 1500
"""The standard error of a coverage of 95 % is then 0.56 %."""


def experiments(
    seeds: int, documents: int, spreads: tuple[float, float, float], kind: str, true: float = 0.0
) -> list[Estimate]:
    """Differences of two arms: `spreads` of a seed's effect, a document's and a cell's, nats a
    token. `kind` draws documents: alike; of lengths over two orders; a tenth of them six times as
    far apart as the others; or one that holds a fifth of all tokens, whose effect gives the sign.
    """
    rng = np.random.default_rng(11)
    found = []
    of_seed, of_document, of_cell = spreads
    for _ in range(EXPERIMENTS):
        effect, length = rng.normal(0.0, 1.0, documents), np.full(documents, 1000.0)
        if kind in ("lengths", "outliers"):
            length *= np.exp(rng.normal(0.0, 1.0 if kind == "lengths" else 0.8, documents))
        if kind == "outliers":
            effect *= np.where(rng.random(documents) < 0.1, 6.0, 1.0) / np.sqrt(0.9 + 0.1 * 36)
        if kind == "one":
            length[0] = 0.25 * length[1:].sum()
        tokens = length.round()
        cells = (
            true
            + rng.normal(0.0, of_seed, (seeds, 1))
            + of_document * effect
            + rng.normal(0.0, of_cell, (seeds, documents))
        )
        nats = cells * tokens
        found.append(crossed_difference(list(nats.sum(1) / tokens.sum()), nats, tokens))
    return found


def coverage(found: list[Estimate], true: float = 0.0) -> float:
    return float(np.mean([e.interval[0] <= true <= e.interval[1] for e in found if e.interval]))


@pytest.mark.parametrize("kind", ["alike", "lengths", "outliers", "one"])
@pytest.mark.parametrize("spreads", [(0.01, 0.3, 0.1), (0.02, 0.1, 0.1)], ids=["documents", "both"])
def test_the_interval_covers_the_truth(kind: str, spreads: tuple[float, float, float]) -> None:
    found = experiments(5, 66, spreads, kind)
    assert 0.93 - 0.012 <= coverage(found) <= 0.97 + 0.012  # two standard errors of the rate
    # Over seeds alone it would not: that is what the documents are kept for.
    alone = [
        t.interval[0] <= 0.0 <= t.interval[1]
        for e in found
        if (t := Estimate(e.n, e.mean, e.sd, None, error=e.sd / 5**0.5, df=4).at(0.95)).interval
    ]
    assert np.mean(alone) < 0.9


@pytest.mark.parametrize("seeds", [3, 8])
def test_where_documents_hardly_differ_it_is_no_narrower_than_over_seeds(seeds: int) -> None:
    found = experiments(seeds, 200, (0.02, 0.001, 0.1), "alike")
    assert 0.93 - 0.012 <= coverage(found) <= 0.97 + 0.012
    assert all(e.error >= e.sd / seeds**0.5 * (1 - 1e-12) for e in found)


def test_the_shares_are_the_planted_ones() -> None:
    """Variances of the mean: seeds 0.02^2 / 8, documents 0.3^2 / 200: a tenth and nine tenths."""
    found = experiments(8, 200, (0.02, 0.3, 0.0), "alike")
    seeds = np.mean([e.shares.seeds for e in found if e.shares])
    assert seeds == pytest.approx(1 / 10, abs=0.015)
    assert found[0].over == found[0].shares.text
    assert all(e.shares.seeds + e.shares.documents == pytest.approx(1.0) for e in found)


def test_documents_that_disagree_take_a_verdict_away() -> None:
    """Every seed agrees to a thousandth, but one document in eight gives the whole difference."""
    tokens = np.full(8, 1000.0)
    nats = np.zeros((5, 8))
    nats[:, 0] = -80.0 - np.arange(5)
    means = list(nats.sum(1) / tokens.sum())
    alone, both = t_interval(means), crossed_difference(means, nats, tokens)
    assert judge({"x": alone})["x"].kind == "better"
    assert judge({"x": both})["x"].kind == "no detectable difference"
    assert both.mean == alone.mean
    assert both.shares is not None
    assert both.shares.documents > 0.9


def test_one_document_or_one_seed_leaves_seeds_alone() -> None:
    one = crossed_difference([0.1, 0.2, 0.3], np.array([[1.0], [2.0], [3.0]]), np.array([10.0]))
    assert one == t_interval([0.1, 0.2, 0.3])
    assert crossed_difference([0.1], np.ones((1, 3)), np.ones(3)).half is None
    with pytest.raises(ValueError, match="cells"):
        crossed_difference([0.1, 0.2], np.ones((2, 3)), np.ones(4))
