"""Drawing the card's figures: from their data to PNG bytes, with seaborn and matplotlib.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; each arm also has its own
marker and dash, so that a grey print can be read. May not import torch or read a record.
"""

from __future__ import annotations

import io
from statistics import fmean
from typing import Any

import matplotlib

matplotlib.use("Agg")

import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.report.curves import Curves
from harness.report.tables import quantity

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
DOTS_PER_INCH = 200
SIZE = (8.0, 4.4)
"""Inches; a README shows it about 800 pixels wide, so a point of type is about 1.4 pixels."""


def draw_curves(data: Curves) -> bytes:
    """Two panels, against tokens and against active FLOPs, as PNG.

    Lines are means over seeds, bands run from the lowest to the highest seed, branches are
    dotted, endpoints carry their 95 % t interval.
    """
    with sns.axes_style("ticks"), plt.rc_context({"font.size": 9.0, "axes.titlesize": 9.5}):
        figure, panels = plt.subplots(1, 2, figsize=SIZE, sharey=True)
        for axes, budget, label in zip(
            panels,
            ("tokens", "flops"),
            ("training tokens", "active training FLOPs"),
            strict=True,
        ):
            _draw(axes, data, budget)
            axes.set_xlabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(6))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: quantity(x) if x else "0"))
        panels[0].set_ylabel("validation loss (nats/token)")
        if data.frame is not None:
            panels[0].set_ylim(*data.frame)
        figure.suptitle(data.title, fontsize=10)
        handles = _legend(data)
        figure.legend(
            handles=handles, loc="lower center", ncol=min(len(handles), 4), frameon=False,
            fontsize=8.5,
        )  # fmt: skip
        sns.despine(figure)
        rows = -(-len(handles) // 4)
        figure.tight_layout(w_pad=2.0, rect=(0, 0.055 * rows, 1, 1))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()


def _style(data: Curves, arm: str) -> tuple[str, str]:
    """(colour, marker) of an arm, by its place in the recipe."""
    place = data.arms.index(arm)
    return PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]


def _draw(axes: Axes, data: Curves, budget: str) -> None:
    for line in data.lines:
        colour, _ = _style(data, line.arm)
        at: dict[float, list[float]] = {}
        for point in line.points:
            at.setdefault(getattr(point, budget), []).append(point.val_loss)
        x = sorted(at)
        lowest, highest = [min(at[place]) for place in x], [max(at[place]) for place in x]
        # As seaborn's lineplot, whose grouping takes as long as all the rest of the figure.
        axes.fill_between(x, lowest, highest, color=colour, alpha=0.18, linewidth=0)
        stem = not line.stage.startswith("decay")
        axes.plot(
            x, [fmean(at[place]) for place in x], color=colour, linewidth=1.6 if stem else 1.3,
            linestyle="-" if stem else (0, (1.5, 1.2)),
        )  # fmt: skip
    for end in data.ends:
        colour, marker = _style(data, end.arm)
        low, high = end.interval or (end.val_loss, end.val_loss)
        axes.errorbar(
            getattr(end, budget), end.val_loss,
            yerr=[[end.val_loss - low], [high - end.val_loss]], color=colour, marker=marker,
            markersize=5.5, markeredgecolor="white", markeredgewidth=0.7, capsize=2.5,
            elinewidth=1.0, zorder=5,
        )  # fmt: skip
    if data.unigram is not None:
        axes.axhline(data.unigram, color="0.35", linestyle="--", linewidth=1.0, zorder=1)
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
    axes.margins(x=0.03)
    axes.set_ylabel("")


def _legend(data: Curves) -> list[Any]:
    handles: list[Any] = []
    for arm in data.arms:
        colour, marker = _style(data, arm)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=5.5, label=arm))
    if any(line.stage.startswith("decay") for line in data.lines):
        handles.append(
            Line2D([], [], color="0.35", linestyle=(0, (1.5, 1.2)), label="decay to a horizon")
        )
    if data.unigram is not None:
        handles.append(Line2D([], [], color="0.35", linestyle="--", label="unigram model"))
    return handles
