"""Drawing the view `tuning`: a map of each arm's search, as PNG bytes.

The colours are viridis, which colour-blind readers can tell apart and which prints as greys; the
losses stand in the cells. May not import torch or read a record.
"""

from __future__ import annotations

import io
import statistics

import matplotlib

matplotlib.use("Agg")

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from harness.report.tuning_tables import Grid, Grids

DOTS_PER_INCH = 200
WIDTH = 8.0
"""Inches; a README shows it about 800 pixels wide, so a point of type is about 1.4 pixels."""
ROW = 0.3
"""Inches: a weight decay's height, and what is above, between and below panels."""
ABOVE, BETWEEN, BELOW = 0.6, 0.85, 1.15
BAR = (0.18, 0.42, 0.64, 0.11)
"""Left and width as shares of the figure's, bottom and height in inches."""
COLOURS = "viridis_r"
BAD = "0.8"
FRAME = "#D55E00"
"""Of the best: Okabe and Ito's vermilion, which viridis has nowhere."""
PANELS = 3
"""Panels side by side at most; rows are filled evenly."""


def draw_search(data: Grids) -> bytes:
    """Weight decays down, learning rates across; a setting whose loss diverged is grey."""
    rows = -(-len(data.grids) // PANELS)
    columns = -(-len(data.grids) // rows)
    norm = _norm(data)
    with sns.axes_style("white"), plt.rc_context({"font.size": 8.0, "axes.titlesize": 9.0}):
        inner = ROW * len(data.decays)
        height = ABOVE + rows * inner + (rows - 1) * BETWEEN + BELOW
        figure, panels = plt.subplots(
            rows, columns, squeeze=False, figsize=(WIDTH, height),
            gridspec_kw={
                "left": 0.08, "right": 0.98, "wspace": 0.22, "hspace": BETWEEN / inner,
                "bottom": BELOW / height, "top": 1 - ABOVE / height,
            },
        )  # fmt: skip
        for axes, grid in zip(panels.flat, data.grids, strict=False):
            _draw(axes, data, grid, norm)
        for axes in panels.flat[len(data.grids) :]:
            axes.set_axis_off()
        for row in panels:
            row[0].set_ylabel("weight decay")
        left, bottom, width, thick = BAR
        bar = figure.colorbar(
            ScalarMappable(norm, COLOURS), orientation="horizontal", extend="max",
            cax=figure.add_axes((left, bottom / height, width, thick / height)),
        )  # fmt: skip
        bar.set_label("validation loss (nats/token)")
        figure.suptitle(data.title, fontsize=10, y=1 - 0.08 / height, va="top")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()


def _norm(data: Grids) -> Normalize:
    """From the lowest loss to as far above the median as that is above the lowest: a setting that
    all but diverged would take the colours from those that are close."""
    losses = [
        loss for grid in data.grids for row in grid.losses for loss in row if loss is not None
    ]
    if not losses:
        return Normalize(0.0, 1.0)
    low = min(losses)
    return Normalize(low, max(low + 1e-3, min(2 * statistics.median(losses) - low, max(losses))))


def _draw(axes: Axes, data: Grids, grid: Grid, norm: Normalize) -> None:
    losses = np.array(grid.losses, dtype=float)  # (weight decays, rates), NaN where there is none
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(losses), norm=norm, cmap=COLOURS, edgecolors="white", linewidth=0.5
    )
    for (row, column), loss in np.ndenumerate(losses):
        text, colour = f"{loss:.3f}", "0.15"
        if np.isnan(loss):
            text = "diverged" if (row, column) in grid.diverged else "–"
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=BAD, edgecolor="white"))
        else:
            red, green, blue, _ = mesh.cmap(norm(loss))
            if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5:  # luma, ITU-R BT.601
                colour = "white"
        best = (row, column) == grid.best
        axes.text(
            column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5, color=colour,
            fontweight="bold" if best else "normal",
        )  # fmt: skip
        if best:
            axes.add_patch(
                Rectangle(
                    (column, row), 1, 1, fill=False, edgecolor=FRAME, linewidth=2.0, zorder=3,
                    clip_on=False,
                )
            )  # fmt: skip
    axes.set_xticks(np.arange(len(data.rates)) + 0.5, data.rates)
    axes.set_yticks(
        np.arange(len(data.decays)) + 0.5, [name.removeprefix("wd") for name in data.decays]
    )
    axes.tick_params(length=0)
    axes.invert_yaxis()
    sns.despine(ax=axes, left=True, bottom=True)
    axes.set_title(grid.arm)
    axes.set_xlabel("factor on learning rates")
