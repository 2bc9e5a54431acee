"""The figure of a ladder: losses with the law's lines, and the compute multiplier by size."""

from __future__ import annotations

import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from harness.report.draw import SIZE, TITLE, fitted, page, style_of
from harness.report.ladder import LawShown
from harness.report.table import quantity

HIGHEST = 4.0
"""Multipliers beyond it, and below its inverse, leave the picture."""


@page(LawShown, "ticks", font=9.0, title=9.5)
def draw_law(data: LawShown) -> Figure:
    """Left the losses of each rung against tokens, right the multiplier against size."""
    figure, (left, right) = plt.subplots(1, 2, figsize=SIZE)
    for rung in data.rungs:
        for place in (0, 1):
            colour, marker = style_of(place)
            left.plot(rung.tokens, rung.fitted[place], color=colour, linewidth=1.2)
            left.plot(
                rung.tokens, rung.measured[place], color=colour, marker=marker, markersize=5,
                linestyle="none", markeredgecolor="white", markeredgewidth=0.6,
            )  # fmt: skip
        lowest = min(rung.fitted[0][-1], rung.fitted[1][-1])
        left.annotate(
            rung.name, (rung.tokens[-1], lowest), xytext=(3, -8), textcoords="offset points",
            fontsize=8, color="0.35",
        )  # fmt: skip
    left.set_xlabel("training tokens")
    left.set_ylabel("validation loss (nats/token)")
    left.margins(x=0.14)
    _quantities(left)
    _multiplier(right, data)
    handles = [
        Line2D([], [], color=style_of(place)[0], marker=style_of(place)[1], markersize=5,
               label=f"{name}: means over seeds, and the law")
        for place, name in enumerate(data.pair)
    ]  # fmt: skip
    figure.legend(handles=handles, loc="lower center", ncol=2, frameon=False, fontsize=8.5)
    figure.suptitle(fitted(data.title, TITLE), fontsize=10)
    sns.despine(figure)
    figure.tight_layout(w_pad=2.0, rect=(0, 0.055, 1, 1))
    return figure


def _multiplier(axes: Axes, data: LawShown) -> None:
    colour, marker = style_of(1)

    def kept(values: tuple[float, ...]) -> list[float]:
        return [min(max(value, 1.0 / HIGHEST), HIGHEST) for value in values]

    axes.fill_between(
        data.sizes, kept(data.low), kept(data.high), color=colour, alpha=0.18, linewidth=0
    )
    axes.plot(data.sizes, kept(data.multipliers), color=colour, linewidth=1.5)
    axes.plot(data.sizes[-1], kept(data.multipliers)[-1], color=colour, marker=marker)
    axes.axhline(1.0, color="0.35", linewidth=1.0, linestyle="--", zorder=1)
    axes.axvspan(data.sizes[0], max(rung.size for rung in data.rungs), color="0.95", zorder=0)
    axes.set_title(f"tokens that {fitted(data.pair[1], 16)} needs, of {fitted(data.pair[0], 16)}'s")
    axes.set_xlabel("parameters, 20 tokens each (grey: sizes run)")
    axes.set_yscale("log")
    low, high = min(1.0, *kept(data.low)), max(1.0, *kept(data.high))
    ticks = [t for t in (0.25, 0.33, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)
             if low / 1.1 <= t <= high * 1.1]  # fmt: skip
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.yaxis.set_minor_formatter(NullFormatter())
    _quantities(axes)


def _quantities(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: quantity(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
