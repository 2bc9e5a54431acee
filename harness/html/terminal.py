"""The watch in a terminal: a table with sparklines."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 16


def sparkline(values: list[float]) -> str:
    """Losses as bars, the newest on the right."""
    shown = values[-WIDTH:]
    if not shown:
        return ""
    low, span = min(shown), (max(shown) - min(shown)) or 1.0
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] for value in shown)


def drawn(state: dict[str, Any]) -> Group:
    """All launches, what runs in each, and the machine."""
    parts: list[Any] = [_launch(one) for one in state["launches"]]
    machine = state["machine"]
    clock = f", {machine['cpu_mhz']:.0f} MHz" if machine["cpu_mhz"] else ""
    used, whole = machine["memory_used"] / 1e9, machine["memory"] / 1e9
    load = f", load {machine['load']:.2f}" if machine["load"] is not None else ""
    parts.append(Text(f"machine: {used:.1f} of {whole:.1f} GB{load}{clock}; {state['at']}"))
    if not state["launches"]:
        parts.insert(0, Text("nothing has been launched from here"))
    return Group(*parts)


def _launch(one: dict[str, Any]) -> Group:
    left = clock(one["seconds_left"])
    money = f", ${one['dollars_left']:.2f}" if one["dollars_left"] is not None else ""
    says = f"{one['says']}: {one['done']} of {one['of']} runs, {one['share']:.0%}"
    head = Text(says + (f", {left} left{money}" if one["status"] == "running" else ""))
    table = Table(box=None, pad_edge=False)
    for name, side in (
        ("run", "left"), ("update", "right"), ("loss", "right"), ("", "left"),
        ("val loss", "right"), ("tokens/s", "right"), ("memory", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for run in one["running"]:
        table.add_row(
            Text(run["name"]), f"{run['update'] or 0}/{run['of']}", _number(run["loss"]),
            sparkline(run["spark"]), _number(run["val_loss"]),
            f"{run['tokens_per_second']:,.0f}" if run["tokens_per_second"] else "-",
            f"{run['memory'] / 1e9:.2f} GB" if run["memory"] else "-",
        )  # fmt: skip
    parts: list[Any] = [head, *([table] if one["running"] else [])]
    if one["next"]:
        parts.append(Text(f"next: {', '.join(one['next'][:4])}"))
    if one["status"] not in ("running", "done"):
        parts.append(Text(f"go on: {one['command']}"))
    return Group(*parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def clock(seconds: float | None) -> str:
    """`1:02:03`, or that it is not known."""
    if seconds is None:
        return "time not known"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
