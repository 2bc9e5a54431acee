"""Lines: loss against budget, loss in each stage, seconds against updates."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.report.draw import NAME, SIZE, TITLE, columns_for, fitted, page, style_of
from harness.report.table import quantity
from harness.report.views.curves import Curves
from harness.report.views.sft import StageCurves, StagePanel
from harness.report.views.throughput import Crossing, Totals

FIRST_SHARE = 0.08
"""The part of a stage from scratch that is not drawn: its first updates' losses would flatten all
that follows."""
TALL = (6.4, 4.2)
"""Inches, of a run's seconds."""
BEYOND = 1.15
"""A run's lines are drawn this far beyond the longest launch, or the last break-even."""


@page(Curves, "ticks", font=9.0, title=9.5)
def draw_curves(data: Curves) -> Figure:
    """Two panels, against tokens and against active FLOPs.

    Lines are means over seeds, bands run from the lowest to the highest seed, branches are
    dotted, endpoints carry their 95 % t interval.
    """
    figure, panels = plt.subplots(1, 2, figsize=SIZE, sharey=True)
    for axes, budget, label in zip(
        panels,
        ("tokens", "flops"),
        ("training tokens", "active training FLOPs"),
        strict=True,
    ):
        _panel(axes, data, budget)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: quantity(x) if x else "0"))
    panels[0].set_ylabel("validation loss (nats/token)")
    if data.frame is not None:
        panels[0].set_ylim(*data.frame)
    figure.suptitle(fitted(data.title, TITLE), fontsize=10)
    handles = _key(data)
    columns = columns_for([handle.get_label() for handle in handles])
    figure.legend(
        handles=handles, loc="lower center", ncol=columns, frameon=False, fontsize=8.5
    )  # fmt: skip
    sns.despine(figure)
    rows = -(-len(handles) // columns)
    figure.tight_layout(w_pad=2.0, rect=(0, 0.055 * rows, 1, 1))
    return figure


def _panel(axes: Axes, data: Curves, budget: str) -> None:
    for line in data.lines:
        colour, _ = style_of(data.arms.index(line.arm))
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
        colour, marker = style_of(data.arms.index(end.arm))
        low, high = end.interval or (end.val_loss, end.val_loss)
        axes.errorbar(
            getattr(end, budget), end.val_loss,
            yerr=[[end.val_loss - low], [high - end.val_loss]], color=colour, marker=marker,
            markersize=5.5, markeredgecolor="white", markeredgewidth=0.7, capsize=2.5,
            elinewidth=1.0, zorder=5,
        )  # fmt: skip
    if data.unigram is not None and _shows_unigram(data):
        axes.axhline(data.unigram, color="0.35", linestyle="--", linewidth=1.0, zorder=1)
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
    axes.margins(x=0.03)
    axes.set_ylabel("")


def _shows_unigram(data: Curves) -> bool:
    return data.unigram is not None and data.frame is not None and data.unigram <= data.frame[1]


def _key(data: Curves) -> list[Any]:
    handles: list[Any] = []
    for arm in data.arms:
        colour, marker = style_of(data.arms.index(arm))
        handles.append(
            Line2D([], [], color=colour, marker=marker, markersize=5.5, label=fitted(arm, NAME))
        )
    if any(line.stage.startswith("decay") for line in data.lines):
        handles.append(
            Line2D([], [], color="0.35", linestyle=(0, (1.5, 1.2)), label="decay to a horizon")
        )
    if _shows_unigram(data):
        handles.append(Line2D([], [], color="0.35", linestyle="--", label="unigram model"))
    return handles


@page(StageCurves, "ticks", font=9.0, title=9.5)
def draw_stages(data: StageCurves) -> Figure:
    """Means over seeds, bands from the lowest to the highest seed, a point each validation."""
    figure, panels = plt.subplots(1, len(data.panels), figsize=SIZE, squeeze=False)
    for axes, panel in zip(panels.flat, data.panels, strict=True):
        _stage(axes, panel, data.arms)
    panels[0][0].set_ylabel("validation loss (nats/token)")
    handles, labels = panels[0][-1].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", ncol=columns_for(labels), frameon=False, fontsize=8.5
    )
    figure.suptitle(fitted(data.title, TITLE), fontsize=10)
    sns.despine(figure)
    figure.tight_layout(w_pad=2.0, rect=(0, 0.055, 1, 1))
    return figure


def _stage(axes: Axes, panel: StagePanel, arms: tuple[str, ...]) -> None:
    frame = pd.DataFrame([point.model_dump() for point in panel.points])
    if frame["tokens"].min() > 0:
        frame = frame[frame["tokens"] >= FIRST_SHARE * frame["tokens"].max()]
    for place, arm in enumerate(arms):
        rows = frame[frame["arm"] == arm]
        if rows.empty:
            continue
        colour, marker = style_of(place)
        sns.lineplot(
            rows, x="tokens", y="val_loss", ax=axes, color=colour, marker=marker,
            markersize=4.5, errorbar=("pi", 100),
            err_kws={"alpha": 0.18, "linewidth": 0}, linewidth=1.5,
            label=fitted(arm, NAME), legend=False,
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


@page(Totals, "ticks", font=9.0)
def draw_totals(data: Totals) -> Figure:
    """Each launch a marker (hollow where it does not count), each arm its line, each
    break-even a vertical with its interval as a band."""
    longest = max(point.updates for point in data.points)
    end = BEYOND * max([longest, *(c.updates for c in data.crossings)])
    figure, axes = plt.subplots(figsize=TALL)
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
    axes.set_title(fitted(data.title, 64), fontsize=9.5)
    axes.legend(
        handles=_crossed_key(data, bool(data.crossings)), frameon=False, fontsize=8.5, loc="best"
    )
    sns.despine(figure)
    figure.tight_layout()
    return figure


def _arm(axes: Axes, data: Totals, name: str, place: int, end: float) -> None:
    colour, marker = style_of(place)
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
    colour, _ = style_of(data.arms.index(crossing.arm))
    axes.axvline(crossing.updates, color=colour, linestyle=(0, (4, 2)), linewidth=1.1, zorder=1)
    axes.axvspan(*crossing.interval, color=colour, alpha=0.12, linewidth=0, zorder=0)
    axes.annotate(
        f"{crossing.updates:,.0f}", (crossing.updates, 0.02), xycoords=("data", "axes fraction"),
        xytext=(3, 0), textcoords="offset points", color=colour, fontsize=8.5,
    )  # fmt: skip


def _crossed_key(data: Totals, crossed: bool) -> list[Line2D]:
    handles = []
    for place, name in enumerate(data.arms):
        colour, marker = style_of(place)
        handles.append(
            Line2D([], [], color=colour, marker=marker, markersize=5, label=fitted(name, 24))
        )
    if not all(point.counted for point in data.points):
        handles.append(
            Line2D([], [], linestyle="none", color="0.35", marker="o", markersize=5,
                   markerfacecolor="white", label="does not count")
        )  # fmt: skip
    if crossed:
        handles.append(Line2D([], [], color="0.35", linestyle=(0, (4, 2)), label="break-even"))
    return handles
