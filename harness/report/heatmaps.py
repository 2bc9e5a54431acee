"""Drawing the view `experts`: a heatmap for each mixture of experts, as PNG bytes.

The colours run from purple over white (an even load) to orange, which colour-blind readers can
tell apart; the numbers stand in the cells. May not import torch or read a record.
"""

from __future__ import annotations

import io

import matplotlib

matplotlib.use("Agg")

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm

from harness.report.experts import Heat, Heats

DOTS_PER_INCH = 200
WIDTH = 8.0
"""Inches; a README shows it about 800 pixels wide, so a point of type is about 1.4 pixels."""
ROW = 0.27
"""Inches, as the following: a layer's height, and what is around and between panels. Placed by
hand, since matplotlib's own layout draws every text twice: a third of the figure's time."""
LEFT, RIGHT, ACROSS = 0.45, 0.4, 0.65
ABOVE, BETWEEN, BELOW = 0.72, 0.95, 1.12
BAR_BOTTOM, BAR_HEIGHT, BAR_WIDTH = 0.45, 0.11, 0.64
"""The colour bar's width is a share of the figure's."""
COLOURS = "PuOr_r"
PANELS = 3
"""Panels side by side; more go below."""


def draw_experts(data: Heats) -> bytes:
    """Layers down, experts across by rank; the routing entropy of each layer at its right."""
    columns = min(PANELS, len(data.heats))
    rows = -(-len(data.heats) // PANELS)
    layers = max(len(heat.load) for heat in data.heats)
    busiest = max(layer[0] for heat in data.heats for layer in heat.load)
    norm = TwoSlopeNorm(1.0, vmin=0.0, vmax=max(2.0, busiest))
    with sns.axes_style("white"), plt.rc_context({"font.size": 8.0, "axes.titlesize": 9.0}):
        panel = (WIDTH - LEFT - RIGHT - (columns - 1) * ACROSS) / columns
        inner = rows * ROW * layers + (rows - 1) * BETWEEN
        height = ABOVE + inner + BELOW
        figure, panels = plt.subplots(
            rows, columns, squeeze=False, figsize=(WIDTH, height),
            gridspec_kw={
                "left": LEFT / WIDTH, "right": 1 - RIGHT / WIDTH, "wspace": ACROSS / panel,
                "bottom": BELOW / height, "top": 1 - ABOVE / height,
                "hspace": BETWEEN / (ROW * layers),
            },
        )  # fmt: skip
        for axes, heat in zip(panels.flat, data.heats, strict=False):
            _draw(axes, heat, norm)
        for axes in panels.flat[len(data.heats) :]:
            axes.set_axis_off()
        for row in panels:
            row[0].set_ylabel("layer")
        place = ((1 - BAR_WIDTH) / 2, BAR_BOTTOM / height, BAR_WIDTH, BAR_HEIGHT / height)
        bar = figure.colorbar(
            ScalarMappable(norm, COLOURS), cax=figure.add_axes(place), orientation="horizontal"
        )
        bar.set_label("load, as a share of an even load")
        figure.suptitle(data.title, fontsize=10, y=1 - 0.08 / height, va="top")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()


def _draw(axes: Axes, heat: Heat, norm: TwoSlopeNorm) -> None:
    load = np.array(heat.load)  # (layers, experts)
    layers, experts = load.shape
    # As seaborn's heatmap, which draws the whole figure once for every panel to place its labels.
    mesh = axes.pcolormesh(load, norm=norm, cmap=COLOURS, edgecolors="white", linewidth=0.5)
    for (layer, rank), share in np.ndenumerate(load):
        red, green, blue, _ = mesh.cmap(norm(share))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # luma, ITU-R BT.601
        axes.text(
            rank + 0.5, layer + 0.5, f"{share:.2f}", ha="center", va="center",
            fontsize=6.5 if experts <= 8 else 5, color="white" if dark else "0.15",
        )  # fmt: skip
    axes.set_xticks(np.arange(experts) + 0.5, [str(rank) for rank in range(1, experts + 1)])
    axes.set_yticks(np.arange(layers) + 0.5, [str(layer) for layer in range(layers)])
    axes.tick_params(length=0)
    axes.invert_yaxis()
    sns.despine(ax=axes, left=True, bottom=True)
    axes.annotate(
        "entropy", (1.0, 1.0), xycoords="axes fraction", xytext=(1, 3), textcoords="offset points",
        fontsize=6.5, color="0.3",
    )  # fmt: skip
    for layer, share in enumerate(heat.entropy):
        axes.text(
            experts + 0.2, layer + 0.5, f"{share:.2f}", fontsize=6.5, va="center", color="0.3"
        )
    seeds = "seed" if heat.seeds == 1 else "seeds"
    axes.set_title(f"{heat.arm} (top {heat.top_k}, {heat.seeds} {seeds})", pad=12)
    axes.set_xlabel("expert, by load within its layer")
