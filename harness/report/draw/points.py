"""Points with intervals: each contestant of a bench against its base.

May not import torch or read a file.
"""

from __future__ import annotations

import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from harness.report.draw import PALETTE, SIZE, page
from harness.report.views.benches import Ratios

ROW = 0.24
"""Inches a contestant."""


@page(Ratios, "ticks", font=8.5)
def draw_ratios(data: Ratios) -> Figure:
    """A point a contestant, on a logarithmic axis, with its interval; a colour a group."""
    groups = list(dict.fromkeys(bar.group for bar in data.bars))
    figure, axes = plt.subplots(figsize=(SIZE[0], 1.1 + ROW * len(data.bars)))
    for place, bar in enumerate(data.bars):
        ratio = bar.ratio_to_base or 0.0
        low, high = bar.ratio_low or ratio, bar.ratio_high or ratio
        axes.errorbar(
            ratio, place, xerr=[[ratio - low], [high - ratio]], fmt="o", markersize=5,
            color=PALETTE[groups.index(bar.group) % len(PALETTE)], capsize=2.5,
        )  # fmt: skip
    axes.axvline(1.0, color="0.35", linestyle="--", linewidth=1.0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.set_yticks(
        range(len(data.bars)),
        [f"{bar.group}: {bar.name} / {bar.base}" for bar in data.bars],
    )
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the base (dashed), with its 95 % interval")
    axes.set_title(data.title, fontsize=10)
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    sns.despine(figure)
    figure.tight_layout()
    return figure
