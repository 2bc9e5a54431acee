"""No figure is cut off: there is no ink at any edge of any picture, however long its words are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from harness.records.bench import BenchRow
from harness.report import draw
from harness.report.draw import Shown
from harness.report.views.benches import Ratios
from harness.report.views.curves import CurveEnd, CurveLine, CurvePoint, Curves
from harness.report.views.findings import Forest, ForestRow

FIGURES = sorted((Path(__file__).parents[2] / "results" / "figures").glob("*.png"))
LONG = "a-mixture-of-experts-with-a-shared-expert-and-balanced-routing-and-a-very-long-name"
EDGE = 3
"""Pixels, of 200 an inch."""


def inked(png: bytes) -> list[str]:
    """The edges at which something is drawn on the paper."""
    picture = image.imread(io.BytesIO(png))[..., :3]
    edges = {
        "top": picture[:EDGE], "bottom": picture[-EDGE:],
        "left": picture[:, :EDGE], "right": picture[:, -EDGE:],
    }  # fmt: skip
    return [name for name, part in edges.items() if np.ptp(part.reshape(-1, 3), axis=0).max() > 0]


def points(arm: str) -> CurveLine:
    made = tuple(
        CurvePoint(seed=0, tokens=t * 1000, flops=t * 1e9, val_loss=9.0 - t) for t in range(1, 5)
    )
    return CurveLine(arm=arm, stage="stem", points=made)


def end(arm: str) -> CurveEnd:
    return CurveEnd(
        arm=arm, horizon="tokens", tokens=4000, flops=4e9, val_loss=5.0, interval=None, n=1
    )


def forest_row(title: str) -> ForestRow:
    return ForestRow(
        title=title, section=LONG, difference=-0.04, interval=(-0.06, -0.02), detectable=0.02,
        margin=0.01, noise=0.02,
    )  # fmt: skip


ARMS = tuple(f"{LONG}-{n}" for n in range(6))
BAR = BenchRow(
    group=LONG, name=LONG, median_seconds=1.0, iqr_seconds=0.1, rounds=5, ratio_to_base=1.5,
    ratio_low=1.4, ratio_high=1.6, base=LONG,
)  # fmt: skip
LONG_ONES: dict[str, Shown] = {
    "forest": Forest(title=LONG * 2, rows=tuple(forest_row(f"{a} − {LONG}") for a in ARMS[:2])),
    "curves": Curves(
        title=LONG * 2, arms=ARMS, lines=tuple(map(points, ARMS)), ends=tuple(map(end, ARMS)),
        unigram=5.5,
    ),
    "ratios": Ratios(title=LONG * 2, bars=(BAR,)),
}  # fmt: skip


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.name)
def test_no_committed_figure_is_cut_off(path: Path) -> None:
    assert inked(path.read_bytes()) == []


@pytest.mark.parametrize("name", LONG_ONES)
def test_long_names_are_not_cut_off(name: str) -> None:
    assert inked(draw.picture(LONG_ONES[name])) == []
