"""Drawing a recipe's timings: seconds against updates, each arm's line, break-even; PNG bytes.

Colours and markers are those of the other figures. May not import torch or read a record.
"""

from __future__ import annotations

import io

import matplotlib

matplotlib.use("Agg")

import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.report.figures import DOTS_PER_INCH, MARKERS, PALETTE
from harness.report.totals import Crossing, Totals

SIZE = (6.4, 4.2)
"""Inches."""
BEYOND = 1.15
"""Lines are drawn this far beyond the longest launch, or the last break-even."""


def draw_totals(data: Totals) -> bytes:
    """Each launch a marker (hollow where it does not count), each arm its line, each
    break-even a vertical with its interval as a band."""
    longest = max(point.updates for point in data.points)
    end = BEYOND * max([longest, *(c.updates for c in data.crossings)])
    with sns.axes_style("ticks"), plt.rc_context({"font.size": 9.0}):
        figure, axes = plt.subplots(figsize=SIZE)
        for place, name in enumerate(data.arms):
            _arm(axes, data, name, place, end)
        for crossing in data.crossings:
            _crossing(axes, data, crossing)
        axes.set_xlim(0, end)
        axes.set_ylim(bottom=min(0.0, *(line.fixed for line in data.lines), 0.0))
        axes.set_xlabel("updates in the run")
        axes.set_ylabel("seconds, process start to last update")
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.grid(color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_title(data.title, fontsize=9.5)
        axes.legend(
            handles=_legend(data, bool(data.crossings)), frameon=False, fontsize=8.5, loc="best"
        )
        sns.despine(figure)
        figure.tight_layout()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()


def _style(place: int) -> tuple[str, str]:
    return PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]


def _arm(axes: Axes, data: Totals, name: str, place: int, end: float) -> None:
    colour, marker = _style(place)
    for line in data.lines:
        if line.arm == name:
            axes.plot([0, end], [line.fixed, line.fixed + end * line.steady], color=colour, lw=1.4)
    for counted in (True, False):
        chosen = [p for p in data.points if p.arm == name and p.counted == counted]
        axes.plot(
            [p.updates for p in chosen], [p.seconds for p in chosen], linestyle="none",
            marker=marker, markersize=5, color=colour, zorder=5,
            markerfacecolor=colour if counted else "white", alpha=0.8 if counted else 0.5,
        )  # fmt: skip


def _crossing(axes: Axes, data: Totals, crossing: Crossing) -> None:
    colour, _ = _style(data.arms.index(crossing.arm))
    axes.axvline(crossing.updates, color=colour, linestyle=(0, (4, 2)), linewidth=1.1, zorder=1)
    axes.axvspan(*crossing.interval, color=colour, alpha=0.12, linewidth=0, zorder=0)
    axes.annotate(
        f"{crossing.updates:,.0f}", (crossing.updates, 0.02), xycoords=("data", "axes fraction"),
        xytext=(3, 0), textcoords="offset points", color=colour, fontsize=8.5,
    )  # fmt: skip


def _legend(data: Totals, crossed: bool) -> list[Line2D]:
    handles = []
    for place, name in enumerate(data.arms):
        colour, marker = _style(place)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=5, label=name))
    if not all(point.counted for point in data.points):
        handles.append(
            Line2D([], [], linestyle="none", color="0.35", marker="o", markersize=5,
                   markerfacecolor="white", label="does not count")
        )  # fmt: skip
    if crossed:
        handles.append(Line2D([], [], color="0.35", linestyle=(0, (4, 2)), label="break-even"))
    return handles
