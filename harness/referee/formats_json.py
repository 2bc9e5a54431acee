"""Formats of JSON files: any object, lines of objects, Hugging Face's Trainer, lm-evaluation-
harness. Each is a function from the file's text to a `Reading`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.referee.reading import Reading, Way


def plain(text: str) -> Reading:
    """One object: its numbers by dotted path; of a list, nothing."""
    content = _object(text)
    if isinstance(content, str):
        return Reading(fault=content)
    reading = Reading(values=_numbers(content))
    if not reading.values:
        reading.fault = "the JSON file holds no number"
    return reading


def lines(text: str) -> Reading:
    """One object a line, as a training log has them: the last value of each name counts, `step`
    orders the curves."""
    reading = Reading()
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        content = _object(line)
        if isinstance(content, str):
            return Reading(fault=f"line {place}: {content}")
        _add(reading, content, float(place))
    if not reading.values:
        reading.fault = "the file holds no number"
    return reading


def trainer(text: str) -> Reading:
    """Hugging Face's Trainer: `trainer_state.json`, whose `log_history` is a curve, or the flat
    `all_results.json` (`eval_results.json`, `train_results.json`)."""
    content = _object(text)
    if isinstance(content, str):
        return Reading(fault=content)
    history = content.get("log_history")
    if history is None:
        named = [key for key in content if key.startswith(("eval_", "train_"))]
        if not named:
            return Reading(fault="neither 'log_history' nor 'eval_...': not the Trainer's file")
        return Reading(values=_numbers(content))
    reading = Reading()
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        return Reading(fault="its 'log_history' is no list of objects: not the Trainer's file")
    for place, row in enumerate(history):
        _add(reading, row, float(place))
    state = _numbers({k: v for k, v in content.items() if k != "stateful_callbacks"})
    reading.values |= {k: v for k, v in state.items() if k in _STATE}
    if not history:
        reading.fault = "its 'log_history' is empty: nothing was logged"
    return reading


_STATE = ("global_step", "max_steps", "epoch", "total_flos", "num_input_tokens_seen", "best_metric")
"""What stands beside the history and is worth keeping."""


def lm_eval(text: str) -> Reading:
    """lm-evaluation-harness's results: `task/metric` with the filter's name left out where it is
    `none`; the file's own `higher_is_better` says which way."""
    content = _object(text)
    if isinstance(content, str):
        return Reading(fault=content)
    results = content.get("results")
    if not isinstance(results, dict) or not all(isinstance(r, dict) for r in results.values()):
        return Reading(fault="no 'results' by task: not lm-evaluation-harness's file")
    reading = Reading()
    ways = content.get("higher_is_better")
    for task, row in results.items():
        says = ways.get(task) if isinstance(ways, dict) else None
        for key, value in row.items():
            metric, _, selected = key.partition(",")
            if not _is_number(value) or metric.endswith("_stderr") or not selected:
                continue  # sizes of samples have no filter, and are no scores
            name = f"{task}/{metric}" if selected == "none" else f"{task}/{key}"
            reading.values[name] = float(value)
            if isinstance(says, dict) and isinstance(says.get(metric), bool):
                way: Way = "higher" if says[metric] else "lower"
                reading.ways[name] = way
    if not reading.values:
        reading.fault = "its 'results' hold no score"
    return reading


def _add(reading: Reading, row: Mapping[str, Any], place: float) -> None:
    numbers = _numbers(row)
    step = next((numbers[k] for k in ("step", "update", "iter") if k in numbers), place)
    for name, value in numbers.items():
        reading.values[name] = value
        if name not in ("step", "update", "iter", "epoch"):
            reading.point(name, step, value)


def _object(text: str) -> dict[str, Any] | str:
    """The JSON object, or what is wrong in one line."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"not JSON, or cut off ({' '.join(str(error).split())})"
    return content if isinstance(content, dict) else "not a JSON object"


def _numbers(content: Mapping[str, Any], before: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found |= _numbers(value, f"{before}{key}.")
        elif _is_number(value):
            found[f"{before}{key}"] = float(value)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
