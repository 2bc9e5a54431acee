"""Figures as plotly takes them: the data of `harness.report.draw`, drawn by a browser.

A colour is a name that the page resolves for its theme: `@0` is the first arm's, `@ink`, `@muted`
and `@band` are the page's own; `@0/0.2` is a fifth opaque. Text of records is escaped, since plotly
reads some tags in it.
"""

from __future__ import annotations

import html
import textwrap
from functools import singledispatch
from typing import Any

from harness.report.draw import Shown
from harness.report.views.benches import Ratios
from harness.report.views.experts import Heats
from harness.report.views.findings import Forest
from harness.report.views.sft import StageCurves
from harness.report.views.throughput import Totals
from harness.report.views.tuning import Grids

Chart = dict[str, Any]
"""`data` and `layout`, and `height` in pixels."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
ROW = 62
"""Pixels of a difference in the forest plot."""


@singledispatch
def chart(data: Shown) -> Chart | None:
    """None for data that only a picture shows, as that of a user's own view."""
    return None


@chart.register
def _forest(data: Forest) -> Chart:
    """A difference a row, first above: point and interval before margin, detectable and noise."""
    sections = list(dict.fromkeys(row.section for row in data.rows))
    traces: list[Chart] = []
    shapes: list[Chart] = []
    words: list[Chart] = []
    for place, row in enumerate(data.rows):
        y = len(data.rows) - 1 - place
        low, high = row.interval
        number = sections.index(row.section)
        if row.detectable is not None:
            shapes.append(_rectangle(row.detectable, y, 0.22, fillcolor="@band"))
        if row.margin is not None:
            shapes.append(_rectangle(row.margin, y, 0.13, fillcolor="@margin"))
        if row.noise is not None:
            shapes += [_line(-row.noise, y), _line(row.noise, y)]
        name, of = html.escape(row.title), html.escape(row.section)
        traces.append(
            {
                "x": [row.difference], "y": [y], "mode": "markers", "name": name,
                "showlegend": False, "customdata": [f"difference {place}"],
                "marker": {"size": 11, "color": f"@{number}", "symbol": _symbol(number)},
                "error_x": {
                    "type": "data", "symmetric": False, "array": [high - row.difference],
                    "arrayminus": [row.difference - low], "color": f"@{number}", "width": 6,
                },
                "hovertemplate": f"{name}<br>{of}<br>%{{x:+.4f}} nats a token<br>"
                f"interval {low:+.4f} to {high:+.4f}<extra></extra>",
            }
        )  # fmt: skip
        words.append(
            {
                "xref": "paper", "x": 0, "xanchor": "left", "y": y + 0.36, "showarrow": False,
                "text": f"<b>{name}</b>  {of}", "font": {"size": 12}, "bgcolor": "@page",
            }
        )  # fmt: skip
    has = {"detectable": any(row.detectable is not None for row in data.rows)}
    has["margin"] = any(row.margin is not None for row in data.rows)
    has["noise"] = any(row.noise is not None for row in data.rows)
    for name, of, marker in (
        ("detectable in 80 % of cases", "detectable", {"symbol": "square", "color": "@band"}),
        ("equivalence margin", "margin", {"symbol": "square", "color": "@margin"}),
        ("noise floor (± 1 sd)", "noise", {"symbol": "line-ns-open", "color": "@muted"}),
    ):
        if has[of]:
            traces.append(_key(name, {**marker, "size": 12}))
    layout = {
        "shapes": shapes, "annotations": words,
        "xaxis": {"title": "nats a token; left of 0 the arm is better", "zeroline": True},
        "yaxis": {
            "visible": False, "range": [-0.5, len(data.rows) - 0.4], "fixedrange": True,
        },
    }  # fmt: skip
    return {"data": traces, "layout": layout, "height": 130 + ROW * len(data.rows)}


@chart.register
def _ratios(data: Ratios) -> Chart:
    """A point a contestant with its interval, on a logarithmic axis, group under group."""
    traces: list[Chart] = []
    words: list[Chart] = []
    y = 0.0
    for number, group in enumerate(dict.fromkeys(bar.group for bar in data.bars)):
        of_group = [bar for bar in data.bars if bar.group == group]
        bases = ", ".join(dict.fromkeys(str(bar.base) for bar in of_group))
        words.append(_words(f"<b>{_short(group)}</b> against {_short(bases)}", y))
        for bar in of_group:
            y -= 1
            ratio = bar.ratio_to_base or 0.0
            low, high = bar.ratio_low or ratio, bar.ratio_high or ratio
            words.append(_words(_short(bar.name), y + 0.4))
            traces.append(
                {
                    "x": [ratio], "y": [y], "mode": "markers", "name": _short(group),
                    "showlegend": False, "marker": {"size": 8, "color": f"@{number}"},
                    "error_x": {
                        "type": "data", "symmetric": False, "array": [high - ratio],
                        "arrayminus": [ratio - low], "color": f"@{number}",
                    },
                    "hovertemplate": f"{html.escape(bar.name)}<br>%{{x:.3f}} times as fast "
                    f"[{low:.3f}, {high:.3f}]<extra></extra>",
                }
            )  # fmt: skip
        y -= 1.2
    layout = {
        "annotations": words,
        "shapes": [{**_line(1.0, 0.0), "y0": 0, "y1": 1, "yref": "paper"}],
        "xaxis": {"title": "times as fast as the base (dotted)", "type": "log", "dtick": "D2"},
        "yaxis": {"visible": False, "range": [y + 0.5, 0.8], "fixedrange": True},
    }
    return {"data": traces, "layout": layout, "height": round(90 - 34 * y)}


@chart.register
def _stages(data: StageCurves) -> Chart:
    """Mean over seeds against tokens, a panel a stage, one above the other."""
    traces: list[Chart] = []
    layout: Chart = {"annotations": []}
    rows = len(data.panels)
    for number, panel in enumerate(data.panels, 1):
        axis = "" if number == 1 else str(number)
        top = 1 - (number - 1) / rows
        layout[f"yaxis{axis}"] = {
            "domain": [top - 0.68 / rows, top - 0.08 / rows], "title": "nats a token",
        }  # fmt: skip
        layout[f"xaxis{axis}"] = {
            "anchor": f"y{axis}", "title": "training tokens of the stage", "rangemode": "tozero",
        }  # fmt: skip
        layout["annotations"].append(
            {
                "xref": "paper", "yref": "paper", "x": 0, "y": top, "showarrow": False,
                "xanchor": "left", "yanchor": "top",
                "text": f"<b>{html.escape(panel.stage)}</b>: {html.escape(panel.scored)}",
            }
        )  # fmt: skip
        for place, arm in enumerate(data.arms):
            at: dict[int, list[float]] = {}
            for point in panel.points:
                if point.arm == arm:
                    at.setdefault(point.tokens, []).append(point.val_loss)
            traces.append(
                {
                    "x": sorted(at), "y": [sum(at[x]) / len(at[x]) for x in sorted(at)],
                    "mode": "lines+markers", "name": html.escape(arm), "xaxis": f"x{axis}",
                    "yaxis": f"y{axis}", "line": {"color": f"@{place}"},
                    "showlegend": number == 1 and len(data.arms) > 1, "legendgroup": arm,
                }
            )  # fmt: skip
    return {"data": traces, "layout": layout, "height": 60 + 300 * rows}


@chart.register
def _totals(data: Totals) -> Chart:
    """Seconds against updates: a marker a launch, a line an arm, a vertical a break-even."""
    end = 1.15 * max(point.updates for point in data.points)
    traces: list[Chart] = []
    for place, arm in enumerate(data.arms):
        colour = f"@{place}"
        for line in data.lines:
            if line.arm == arm:
                ends = [line.fixed, line.fixed + end * line.steady]
                traces.append(
                    {
                        "x": [0, end], "y": ends, "mode": "lines", "line": {"color": colour},
                        "name": html.escape(arm), "showlegend": False,
                    }
                )  # fmt: skip
        for counted in (True, False):
            chosen = [p for p in data.points if (p.arm, p.counted) == (arm, counted)]
            symbol = _symbol(place) + ("" if counted else "-open")
            if chosen:
                traces.append(
                    {
                        "x": [p.updates for p in chosen], "y": [p.seconds for p in chosen],
                        "mode": "markers", "marker": {"color": colour, "symbol": symbol, "size": 8},
                        "name": html.escape(arm) + ("" if counted else ", does not count"),
                    }
                )  # fmt: skip
    shapes = [
        {**_line(one.updates, 0), "y0": 0, "y1": 1, "yref": "paper"} for one in data.crossings
    ]
    layout = {
        "shapes": shapes,
        "xaxis": {"title": "updates in the run", "rangemode": "tozero"},
        "yaxis": {"title": "seconds, from process start to last update", "rangemode": "tozero"},
    }
    return {"data": traces, "layout": layout, "height": 420}


@chart.register
def _heats(data: Heats) -> Chart:
    """The load of each expert by layer, a panel an arm, one above the other."""
    return _maps(
        [
            (f"{one.arm} (top {one.top_k})", one.load, None, [str(n) for n in range(len(one.load))])
            for one in data.heats
        ],
        {"colorscale": "PuOr", "zmid": 1.0, "colorbar": {"title": {"text": "× even"}}},
        "expert, by load within its layer", "layer", "%{z:.2f} times an even load",
    )  # fmt: skip


@chart.register
def _grids(data: Grids) -> Chart:
    """The losses of a search by learning rate and weight decay, a panel an arm."""
    losses = [x for grid in data.grids for row in grid.losses for x in row if x is not None]
    low = min(losses, default=0.0)
    middle = sorted(losses)[len(losses) // 2] if losses else 1.0
    high = max(low + 1e-3, min(2 * middle - low, max(losses, default=1.0)))
    return _maps(
        [
            (grid.arm, grid.losses, list(data.rates), [d.removeprefix("wd") for d in grid.decays])
            for grid in data.grids
        ],
        {
            "colorscale": "Viridis", "reversescale": True, "zmin": low, "zmax": high,
            "colorbar": {"title": {"text": "nats a token"}},
        },
        "factor on the learning rates", "weight decay", "%{z:.4f} nats a token",
        [grid.best for grid in data.grids],
    )  # fmt: skip


def _maps(
    panels: list[tuple[str, Any, list[str] | None, list[str]]],
    colours: Chart,
    across: str,
    down: str,
    says: str,
    best: Any = (),
) -> Chart:
    """Heat maps one above the other: (title, rows of values, names across, names down)."""
    traces: list[Chart] = []
    layout: Chart = {"annotations": [], "shapes": []}
    sizes = [2.6 + len(rows) for _, rows, _, _ in panels]
    total, above = sum(sizes), 0.0
    for number, ((title, rows, names, sides), size) in enumerate(
        zip(panels, sizes, strict=True), 1
    ):
        axis = "" if number == 1 else str(number)
        top = 1 - above / total
        names = names or [str(n) for n in range(1, len(rows[0]) + 1)]
        layout[f"yaxis{axis}"] = {
            "domain": [top - (size - 1.5) / total, top - 0.5 / total], "autorange": "reversed",
            "title": down, "type": "category", "anchor": f"x{axis}", "showgrid": False,
        }  # fmt: skip
        layout[f"xaxis{axis}"] = {
            "anchor": f"y{axis}", "type": "category", "showgrid": False,
            "title": across if number == len(panels) else "",
        }  # fmt: skip
        layout["annotations"].append(
            {
                "xref": "paper", "yref": "paper", "x": 0, "y": top - 0.45 / total,
                "xanchor": "left", "yanchor": "bottom", "showarrow": False,
                "text": f"<b>{html.escape(title)}</b>",
            }
        )  # fmt: skip
        text = [["" if x is None else f"{x:.3f}" for x in row] for row in rows]
        traces.append(
            {
                "type": "heatmap", "z": rows, "x": names, "y": sides, "text": text, "xgap": 2,
                "ygap": 2, "texttemplate": "%{text}", "xaxis": f"x{axis}", "yaxis": f"y{axis}",
                "showscale": number == 1, "hoverongaps": False,
                "hovertemplate": f"%{{x}}, {down} %{{y}}: {says}<extra></extra>", **colours,
            }
        )  # fmt: skip
        place = best[number - 1] if best else None
        if place is not None:
            row, column = place
            layout["shapes"].append(
                {
                    "type": "rect", "xref": f"x{axis}", "yref": f"y{axis}", "x0": column - 0.5,
                    "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5,
                    "line": {"color": "@1", "width": 3},
                }
            )  # fmt: skip
        above += size
    return {"data": traces, "layout": layout, "height": round(40 + 30 * total)}


def _symbol(place: int) -> str:
    return SYMBOLS[place % len(SYMBOLS)]


def _short(text: str) -> str:
    return html.escape(textwrap.shorten(text, 44, placeholder=" …"))


def _rectangle(half: float, y: float, tall: float, **more: Any) -> Chart:
    place = {"x0": -half, "x1": half, "y0": y - tall, "y1": y + tall}
    return {"type": "rect", **place, "line": {"width": 0}, "layer": "below", **more}


def _line(x: float, y: float) -> Chart:
    look = {"color": "@muted", "width": 1.5, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "y0": y - 0.22, "y1": y + 0.22, "line": look}


def _words(text: str, y: float) -> Chart:
    return {
        "xref": "paper", "x": 0, "xanchor": "left", "y": y, "yanchor": "middle",
        "showarrow": False, "text": text, "font": {"size": 11}, "bgcolor": "@page",
    }  # fmt: skip


def _key(name: str, marker: Chart) -> Chart:
    """An entry of the legend alone."""
    return {"x": [None], "y": [None], "mode": "markers", "name": name, "marker": marker}
