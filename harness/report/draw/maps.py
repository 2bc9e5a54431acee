"""Maps: the load of each expert, and the losses of a search.

Colours run from purple over white (an even load) to orange, or through viridis; colour-blind
readers can tell both apart, and the numbers stand in the cells. May not import torch or read a
record.
"""

from __future__ import annotations

import statistics

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.report.draw import PALETTE, SIZE, TITLE, fitted, page
from harness.report.views.experts import Heat, Heats
from harness.report.views.tuning import Grid, Grids

WIDTH = SIZE[0]
PANELS = 3
"""Panels side by side at most; more go below."""
LAYER, DECAY = 0.27, 0.3
"""Inches: the height of a layer, and of a weight decay. What is around and between panels is
placed by hand, since matplotlib's own layout draws every text twice: a third of the time."""
LEFT, RIGHT, ACROSS = 0.45, 0.4, 0.65
ABOVE, BETWEEN, BELOW = 0.72, 0.95, 1.12
BAR_BOTTOM, BAR_HEIGHT, BAR_WIDTH = 0.45, 0.11, 0.64
"""Inches around the experts' panels, and their colour bar, whose width is a share of the figure's.
"""
OVER, AMID, UNDER = 0.6, 0.85, 1.15
"""Inches above, between and below the panels of a search."""
CHARACTER = 0.058
"""Inches: a character of a row's name."""
BAR = (0.18, 0.42, 0.64, 0.11)
"""Its colour bar: left and width as shares of the figure's, bottom and height in inches."""
BAD = "0.8"
FRAME = PALETTE[1]
"""The colour around the best setting: vermilion, which viridis has nowhere."""


@page(Heats, "white", font=8.0, title=9.0)
def draw_experts(data: Heats) -> Figure:
    """Layers down, experts across by rank; the routing entropy of each layer at its right."""
    columns = min(PANELS, len(data.heats))
    rows = -(-len(data.heats) // PANELS)
    layers = max(len(heat.load) for heat in data.heats)
    busiest = max(layer[0] for heat in data.heats for layer in heat.load)
    norm = TwoSlopeNorm(1.0, vmin=0.0, vmax=max(2.0, busiest))
    panel = (WIDTH - LEFT - RIGHT - (columns - 1) * ACROSS) / columns
    inner = rows * LAYER * layers + (rows - 1) * BETWEEN
    height = ABOVE + inner + BELOW
    figure, panels = plt.subplots(
        rows, columns, squeeze=False, figsize=(WIDTH, height),
        gridspec_kw={
            "left": LEFT / WIDTH, "right": 1 - RIGHT / WIDTH, "wspace": ACROSS / panel,
            "bottom": BELOW / height, "top": 1 - ABOVE / height,
            "hspace": BETWEEN / (LAYER * layers),
        },
    )  # fmt: skip
    for axes, heat in zip(panels.flat, data.heats, strict=False):
        _load(axes, heat, norm)
    for axes in panels.flat[len(data.heats) :]:
        axes.set_axis_off()
    for row in panels:
        row[0].set_ylabel("layer")
    place = ((1 - BAR_WIDTH) / 2, BAR_BOTTOM / height, BAR_WIDTH, BAR_HEIGHT / height)
    bar = figure.colorbar(
        ScalarMappable(norm, "PuOr_r"), cax=figure.add_axes(place), orientation="horizontal"
    )
    bar.set_label("load, as a share of an even load")
    figure.suptitle(fitted(data.title, TITLE), fontsize=10, y=1 - 0.08 / height, va="top")
    return figure


def _load(axes: Axes, heat: Heat, norm: TwoSlopeNorm) -> None:
    load = np.array(heat.load)  # (layers, experts)
    layers, experts = load.shape
    # As seaborn's heatmap, which draws the whole figure once for every panel to place its labels.
    mesh = axes.pcolormesh(load, norm=norm, cmap="PuOr_r", edgecolors="white", linewidth=0.5)
    for (layer, rank), share in np.ndenumerate(load):
        dark = _is_dark(mesh.cmap(norm(share)))
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


@page(Grids, "white", font=8.0, title=9.0)
def draw_search(data: Grids) -> Figure:
    """Weight decays down, learning rates across; a setting whose loss diverged is grey."""
    rows = -(-len(data.grids) // PANELS)
    columns = -(-len(data.grids) // rows)
    norm = _norm(data)
    names = [_row_names(grid) for grid in data.grids]
    inner = DECAY * max(map(len, names))
    beside = CHARACTER * max(max(map(len, one)) for one in names)
    left = max(0.08, (beside + 0.3) / WIDTH)
    panel = (0.98 - left) * WIDTH / columns - beside
    height = OVER + rows * inner + (rows - 1) * AMID + UNDER
    figure, panels = plt.subplots(
        rows, columns, squeeze=False, figsize=(WIDTH, height),
        gridspec_kw={
            "left": left, "right": 0.98, "wspace": max(0.22, (beside + 0.1) / panel),
            "hspace": AMID / inner,
            "bottom": UNDER / height, "top": 1 - OVER / height,
        },
    )  # fmt: skip
    for axes, grid in zip(panels.flat, data.grids, strict=False):
        _setting(axes, data, grid, norm)
    for axes in panels.flat[len(data.grids) :]:
        axes.set_axis_off()
    for row in panels:
        row[0].set_ylabel("weight decay")
    start, bottom, width, thick = BAR
    bar = figure.colorbar(
        ScalarMappable(norm, "viridis_r"), orientation="horizontal", extend="max",
        cax=figure.add_axes((start, bottom / height, width, thick / height)),
    )  # fmt: skip
    bar.set_label("validation loss (nats/token)")
    figure.suptitle(fitted(data.title, TITLE), fontsize=10, y=1 - 0.08 / height, va="top")
    return figure


def _row_names(grid: Grid) -> list[str]:
    return [name.removeprefix("wd") for name in grid.decays]


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


def _setting(axes: Axes, data: Grids, grid: Grid, norm: Normalize) -> None:
    losses = np.array(grid.losses, dtype=float)  # (weight decays, rates), NaN where there is none
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(losses), norm=norm, cmap="viridis_r", edgecolors="white", linewidth=0.5
    )
    for (row, column), loss in np.ndenumerate(losses):
        text, colour = f"{loss:.3f}", "0.15"
        if np.isnan(loss):
            text = "diverged" if (row, column) in grid.diverged else "–"
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=BAD, edgecolor="white"))
        elif _is_dark(mesh.cmap(norm(loss))):
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
    axes.set_yticks(np.arange(len(grid.decays)) + 0.5, _row_names(grid))
    axes.tick_params(length=0)
    axes.invert_yaxis()
    sns.despine(ax=axes, left=True, bottom=True)
    axes.set_title(grid.arm)
    axes.set_xlabel("factor on learning rates")


def _is_dark(colour: tuple[float, float, float, float]) -> bool:
    """Whether white type reads better on it: luma, ITU-R BT.601."""
    red, green, blue, _ = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
