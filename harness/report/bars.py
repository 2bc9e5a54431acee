"""Drawing a bench's figure: each contestant's speed as a multiple of its base's, as PNG bytes.

May not import torch or read a file.
"""

from __future__ import annotations

import io

import matplotlib

matplotlib.use("Agg")

import seaborn as sns
from matplotlib import pyplot as plt

from harness.report.benches import Ratios
from harness.report.figures import DOTS_PER_INCH, PALETTE

WIDTH = 8.0
ROW = 0.24
"""Inches a contestant."""


def draw_ratios(data: Ratios) -> bytes:
    """A point a contestant, on a logarithmic axis, with its interval; a colour a group."""
    groups = list(dict.fromkeys(bar.group for bar in data.bars))
    with sns.axes_style("ticks"), plt.rc_context({"font.size": 8.5}):
        figure, axes = plt.subplots(figsize=(WIDTH, 1.1 + ROW * len(data.bars)))
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
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()
