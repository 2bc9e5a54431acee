"""Drawing the view `sft`: validation loss in each stage, a panel a stage, as PNG bytes.

Panels do not share an axis: their losses are of different texts. May not import torch or read a
record.
"""

from __future__ import annotations

import io

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.report.figures import DOTS_PER_INCH, MARKERS, PALETTE, SIZE
from harness.report.sft import StageCurves, StagePanel
from harness.report.tables import quantity

FIRST_SHARE = 0.08
"""Of a stage from scratch: its first updates' losses would flatten all that follows."""


def draw_stages(data: StageCurves) -> bytes:
    """Means over seeds, bands from the lowest to the highest seed, a point each validation."""
    with sns.axes_style("ticks"), plt.rc_context({"font.size": 9.0, "axes.titlesize": 9.5}):
        figure, panels = plt.subplots(1, len(data.panels), figsize=SIZE, squeeze=False)
        for axes, panel in zip(panels.flat, data.panels, strict=True):
            _draw(axes, panel, data.arms)
        panels[0][0].set_ylabel("validation loss (nats/token)")
        handles, labels = panels[0][-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncol=4, frameon=False, fontsize=8.5)
        figure.suptitle(data.title, fontsize=10)
        sns.despine(figure)
        figure.tight_layout(w_pad=2.0, rect=(0, 0.055, 1, 1))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()


def _draw(axes: Axes, panel: StagePanel, arms: tuple[str, ...]) -> None:
    frame = pd.DataFrame([point.model_dump() for point in panel.points])
    if frame["tokens"].min() > 0:
        frame = frame[frame["tokens"] >= FIRST_SHARE * frame["tokens"].max()]
    for place, arm in enumerate(arms):
        rows = frame[frame["arm"] == arm]
        if rows.empty:
            continue
        sns.lineplot(
            rows, x="tokens", y="val_loss", ax=axes, color=PALETTE[place % len(PALETTE)],
            marker=MARKERS[place % len(MARKERS)], markersize=4.5, errorbar=("pi", 100),
            err_kws={"alpha": 0.18, "linewidth": 0}, linewidth=1.5, label=arm, legend=False,
        )  # fmt: skip
    if panel.unigram is not None:
        axes.axhline(
            panel.unigram, color="0.35", linestyle="--", linewidth=1.0, zorder=1,
            label="unigram model of the stage's text",
        )  # fmt: skip
    axes.set_title(f"{panel.stage}: {panel.scored}")
    axes.set_xlabel("training tokens of the stage")
    axes.set_ylabel("")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: quantity(x) if x else "0"))
    axes.set_xlim(left=0)
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
