"""Points with intervals: paired differences, and each contestant of a bench against its base."""

from __future__ import annotations

import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report.draw import NAME, PALETTE, SIZE, TITLE, fitted, page, style_of
from harness.report.views.benches import Ratios
from harness.report.views.findings import Forest

ROW = 0.24
"""Inches a contestant."""
TALL = 0.46
"""Inches a difference, which has two lines of words."""
MARGIN = "#BFE3D6"
"""Green, as nothing else on the forest is."""


@page(Forest, "ticks", font=9.0)
def draw_forest(data: Forest) -> Figure:
    """A difference a row, first above: point, interval, detectable difference, noise floor."""
    sections = list(dict.fromkeys(row.section for row in data.rows))
    figure, axes = plt.subplots(figsize=(SIZE[0], 1.5 + TALL * len(data.rows)))
    for place, row in enumerate(data.rows):
        colour, marker = style_of(sections.index(row.section))
        if row.detectable is not None:
            axes.barh(place, 2 * row.detectable, left=-row.detectable, height=0.62, color="0.9")
        if row.margin is not None:
            axes.barh(place, 2 * row.margin, left=-row.margin, height=0.3, color=MARGIN)
        if row.noise is not None:
            for side in (-row.noise, row.noise):
                axes.plot([side, side], [place - 0.31, place + 0.31], color="0.35", ls=":", lw=1.2)
        low, high = row.interval
        axes.errorbar(
            row.difference, place, xerr=[[row.difference - low], [high - row.difference]],
            fmt=marker, color=colour, markersize=6, capsize=3, zorder=3,
        )  # fmt: skip
    axes.axvline(0.0, color="0.35", linewidth=1.0, zorder=1)
    axes.set_yticks(
        range(len(data.rows)),
        [f"{fitted(row.title, NAME)}\n{fitted(row.section, NAME)}" for row in data.rows],
    )
    axes.invert_yaxis()
    axes.set_xlabel("nats/token; left of 0 the arm is better")
    axes.set_title(fitted(data.title, 56), fontsize=10)
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    sns.despine(figure)
    handles: list[Patch | Line2D] = [Patch(color="0.9", label="detectable in 80 % of cases")]
    if any(row.margin is not None for row in data.rows):
        handles.append(Patch(color=MARGIN, label="equivalence margin"))
    if any(row.noise is not None for row in data.rows):
        handles.append(Line2D([], [], color="0.35", ls=":", label="noise floor (± 1 sd)"))
    height = figure.get_figheight()
    figure.legend(handles=handles, loc="lower center", ncol=3, frameon=False, fontsize=8.5)
    figure.tight_layout(rect=(0, 0.3 / height, 1, 1))
    return figure


@page(Ratios, "ticks", font=8.5)
def draw_ratios(data: Ratios) -> Figure:
    """A point a contestant, on a logarithmic axis, with its interval; a colour and a line of
    words a group."""
    groups = list(dict.fromkeys(bar.group for bar in data.bars))
    rows: list[str] = []
    axes_height = ROW * (len(data.bars) + len(groups))
    figure, axes = plt.subplots(figsize=(SIZE[0], 1.1 + axes_height))
    for number, group in enumerate(groups):
        of_group = [bar for bar in data.bars if bar.group == group]
        bases = ", ".join(dict.fromkeys(str(bar.base) for bar in of_group))
        axes.annotate(
            f"{fitted(group, NAME)}: against {fitted(bases, 28)}", (0.01, len(rows)),
            xycoords=("axes fraction", "data"), va="center", color="0.3", fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
        rows.append("")
        for bar in of_group:
            ratio = bar.ratio_to_base or 0.0
            low, high = bar.ratio_low or ratio, bar.ratio_high or ratio
            axes.errorbar(
                ratio, len(rows), xerr=[[ratio - low], [high - ratio]], fmt="o", markersize=5,
                color=PALETTE[number % len(PALETTE)], capsize=2.5,
            )  # fmt: skip
            rows.append(fitted(bar.name, NAME))
    axes.axvline(1.0, color="0.35", linestyle="--", linewidth=1.0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.5, -0.8)
    axes.set_xlabel("times as fast as the base (dashed)")
    figure.suptitle(fitted(data.title, TITLE), fontsize=10)
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    sns.despine(figure)
    figure.tight_layout()
    return figure
