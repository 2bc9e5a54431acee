"""A suite's results as lines for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.report.suite import BITS, CORRECT, NORMED

_GREY, _PLAIN = "\033[2m", "\033[0m"


def text(said: Mapping[str, Any], colours: bool = False) -> str:
    """What `one` or `ladder` found; `colours` greys what a terminal can grey."""
    if "runs" in said:
        return "\n".join(_ladder(said, colours))
    lines = _scores(said, f"lm_eval {said['lm_eval']}")
    if "against" in said:
        lines += ["", *_scores(said["against"]), "", *_differences(said)]
    return "\n".join(lines)


def _scores(said: Mapping[str, Any], more: str = "") -> list[str]:
    head = (
        f"{said['model']} ({said['dtype']}, context {said['context']}){', ' if more else ''}{more}"
    )
    rows = [("task", "items", "bits per byte", "accuracy", "a character", "chance", "")]
    for name, task in said["tasks"].items():
        notes = []
        if task["cut"]:
            notes.append(f"{task['cut']} cut")
        if task["left_out"]:
            notes.append(f"{task['left_out']} left out")
        values = (_value(task.get(metric)) for metric in (BITS, CORRECT, NORMED))
        chance = "" if task["chance"] is None else f"{task['chance']:.3f}"
        rows.append((name, str(task["items"]), *values, chance, ", ".join(notes)))
    said_of = (
        "± is the standard error over items; 'a character' ranks by log-likelihood a character"
    )
    return [head, *_table(rows), f"  {said_of}"]


def _differences(said: Mapping[str, Any]) -> list[str]:
    rows = [("task", "bits per byte", "p", "", "accuracy a character", "p", "")]
    rows.append(("mean of tasks", *_difference(said["differences"]["mean"]), "", "", ""))
    for name, task in said["differences"]["tasks"].items():
        rows.append((name, *_difference(task.get(BITS)), *_difference(task.get(NORMED))))
    return [
        f"{said['model']} less {said['against']['model']}, item by item",
        *_table(rows),
        "  * shown: of comparisons of two equal models, at most one in twenty has any",
        "  intervals are over items: of these two models' weights, not of other seeds; of",
        "  95 %, the mean's of 96 %, at which it is judged",
    ]


def _difference(of: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if of is None or of["value"] is None:
        return "", "", ""
    low_high = "" if of["interval"] is None else " [{:+.4f}, {:+.4f}]".format(*of["interval"])
    p_value = "" if of["p"] is None else f"{of['p']:.2g}"
    return f"{of['value']:+.4f}{low_high}", p_value, "*" if of["differs"] else ""


def _ladder(said: Mapping[str, Any], colours: bool) -> list[str]:
    lines = [f"{said['runs']} runs of {', '.join(said['arms'])}; lm_eval {said['lm_eval']}", ""]
    for metric, title in ((BITS, "bits per byte"), (NORMED, "accuracy a character")):
        lines += [title, *_signals(said, metric, colours), ""]
    lines += [
        f"signal: spread of models' means; noise: over seeds; grey: under {said['ratio']:g} of it",
        "monotone: of its lines (an arm at a budget, over sizes), how many get better all along",
        "",
    ]
    for one in said["differences"]:
        lines += _pair(one, said)
    if "reference" in said:
        lines += ["", "for reference:", *_scores(said["reference"])]
    return lines


def _signals(said: Mapping[str, Any], metric: str, colours: bool) -> list[str]:
    """A line a task: signal, noise, and the means of each scale at its last horizon."""
    last = {scale: f"{scale} {horizon}" for scale, horizon in said["models"]}
    arms = said["arms"]
    heads = [f"{arm.rpartition('/')[2]} {scale}" for arm in arms for scale in last]
    rows = [("task", "items", "signal", "noise", "ratio", "monotone", *heads)]
    grey = []
    for name, task in said["tasks"].items():
        of = task.get(metric)
        if of is None:
            continue
        numbers = [_number(of[key]) for key in ("signal", "noise")]
        ratio = "" if of["ratio"] is None else f"{of['ratio']:.1f}"
        means = [_number(of["means"][arm].get(model)) for arm in arms for model in last.values()]
        k, m = of["monotone"]
        rows.append((name, str(task["items"]), *numbers, ratio, f"{k} of {m}" if m else "", *means))
        grey.append(of["grey"])
    head, *body = _table(rows)
    return [head, *(_marked(line, dim, colours) for line, dim in zip(body, grey, strict=True))]


def _marked(line: str, grey: bool, colours: bool) -> str:
    if not grey:
        return line
    return f"{_GREY}{line}{_PLAIN}" if colours else f"{line}  (grey)"


def _pair(one: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    over = "items alone" if one["seeds"] == 1 else f"{one['seeds']} seeds and items"
    lines = [f"{one['one']} less {one['less']} at {one['scale']}, over {over}:"]
    value, _, star = _difference(one["mean"])
    told = "none" if one["mean"]["value"] is None else f"{value}  {star or 'not shown'}"
    lines.append(
        f"  mean of the {one['mean']['of']} tasks that are not grey, bits per byte: {told}"
    )
    for metric, title in ((BITS, "bits per byte"), (NORMED, "accuracy a character")):
        shown = [
            f"    {name}  {_difference(of[metric])[0]}"
            for name, of in one["tasks"].items()
            if metric in of and of[metric]["differs"] and not said["tasks"][name][metric]["grey"]
        ]
        lines += [f"  {title}:{'' if shown else ' none is shown'}", *shown]
    return lines


def _value(share: Mapping[str, Any] | None) -> str:
    if share is None:
        return ""
    error = "" if share["stderr"] is None else f" ± {share['stderr']:.4f}"
    return f"{share['value']:.4f}{error}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
