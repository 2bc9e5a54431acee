"""Formats of printed text: METRIC lines, blocks, the logs of well-known trainers, a user's regex.

Each is a function from the text to a `Reading`, and knows nothing of runs. A format written after
a program's output names that program.
"""

from __future__ import annotations

import re

from harness.referee.reading import NUMBER, Reading, lines_of, number

_METRIC = re.compile(
    rf"METRIC\s+(?P<name>[^\s=]+)\s*=\s*(?P<value>{NUMBER})(?P<rest>(?:\s.*)?)", re.IGNORECASE
)
_NO_METRIC = re.compile(
    r"METRIC\s+(?P<name>[^\s=]+)\s*=\s*(?P<value>\S+)(?P<rest>.*)", re.IGNORECASE
)
"""The same with something that is no number."""
_STEP = re.compile(rf"\bstep\s*=\s*({NUMBER})", re.IGNORECASE)
ENDLESS = 2_000
"""Characters from which a line is no line, but output of a program that prints no line ends."""
_WAY = re.compile(r"\b(lower|higher)\b", re.IGNORECASE)
_PAIR = re.compile(rf"(?P<name>[A-Za-z_][\w./-]*):\s+(?P<value>{NUMBER})", re.IGNORECASE)
_PROGRESS = re.compile(
    rf"step (?P<step>\d+)(?:/(?P<last>\d+))? .*?\bloss: (?P<loss>{NUMBER})", re.IGNORECASE
)


def metric_lines(text: str) -> Reading:
    """`METRIC name=value [step=N] [lower|higher]`, one a line.

    With `step` it is a point of a curve, without it the result. A result printed twice with two
    values is a fault: which of them counts is not ours to choose. A metric that has points only
    ends with its last one.
    """
    reading = Reading()
    results: dict[str, list[float]] = {}
    unread: dict[str, str] = {}
    for line in lines_of(text):
        found = _METRIC.match(line) if len(line) < ENDLESS else _last(_METRIC, line)
        value = number(found["value"]) if found else None
        if found is None or value is None:
            if (other := _NO_METRIC.match(line)) and not _STEP.search(other["rest"]):
                unread[other["name"]] = other["value"]
            continue
        name, rest = found["name"], found["rest"]
        if way := _WAY.search(rest):
            reading.ways[name] = "lower" if way[1].lower() == "lower" else "higher"
        if step := _STEP.search(rest):
            reading.point(name, _float(step[1]), value)
            reading.values[name] = value
        else:
            results.setdefault(name, []).append(value)
    for name, values in results.items():
        reading.values[name] = values[-1]
        if len({repr(value) for value in values}) > 1:
            reading.fault = (
                f"METRIC {name} was printed {len(values)} times with different values "
                f"({_few(values)}); a point along the run carries step=N"
            )
    reading.points_only = tuple(sorted(reading.values.keys() - results.keys()))
    for name, words in unread.items():
        if name not in results and (name in reading.values or not reading.values):
            reading.fault = reading.fault or f"METRIC {name}={words[:40]} is no number"
    if not reading.values:
        reading.fault = reading.fault or "it printed no line 'METRIC name=value'"
    return reading


def _last(pattern: re.Pattern[str], line: str) -> re.Match[str] | None:
    """The last place of a line that matches: what follows a stream that never ended its line."""
    at = line.rfind("METRIC")
    return pattern.match(line, at) if at >= 0 else None


def blocks(text: str) -> Reading:
    """`name: value` lines: those after the last line `---`, else all, where the last one counts."""
    lines = lines_of(text)
    ruled = "---" in lines
    start = len(lines) - lines[::-1].index("---") if ruled else 0
    reading = Reading()
    for place, line in enumerate(lines[start:]):
        found = _PAIR.fullmatch(line)
        value = number(found["value"]) if found else None
        if found is None or value is None:
            continue
        if ruled and repr(reading.values.get(found["name"], value)) != repr(value):
            reading.fault = f"'{found['name']}' stands twice, with different values, after '---'"
        reading.values[found["name"]] = value
        if not ruled:
            reading.point(found["name"], place, value)
    if not reading.values:
        reading.fault = "it printed no line 'name: value'"
    return reading


SUMMARY_ENDS = "depth"
"""The last line of autoresearch's summary."""


def autoresearch(text: str) -> Reading:
    """The summary that autoresearch's train.py prints after `---`; its progress lines give the
    curve of the training loss."""
    if "---" not in lines_of(text):
        return Reading(fault="no summary after a line '---': not autoresearch's output, or cut off")
    reading = blocks(text)
    _progress(text, reading)
    if not text.endswith(("\n", "\r")) and SUMMARY_ENDS not in reading.values:
        # What is printed ends with a line's end: the last number may have lost digits.
        reading.fault = reading.fault or f"its summary is cut off before '{SUMMARY_ENDS}'"
    return reading


def nanochat(text: str) -> Reading:
    """nanochat's base training: `Step N | Validation bpb: V`, and its last statistics."""
    reading = Reading()
    last = _progress(text, reading)
    for line in lines_of(text):
        if found := re.match(rf"Step (\d+) \| Validation bpb: ({NUMBER})", line, re.IGNORECASE):
            reading.values["val_bpb"] = _float(found[2])
            reading.values["step"] = _float(found[1])
            reading.point("val_bpb", _float(found[1]), _float(found[2]))
        elif found := re.match(rf"Step (\d+) \| CORE metric: ({NUMBER})", line, re.IGNORECASE):
            reading.values["core_metric"] = _float(found[2])
        elif found := re.match(rf"Minimum validation bpb: ({NUMBER})", line, re.IGNORECASE):
            reading.values["min_val_bpb"] = _float(found[1])
        elif found := re.match(rf"Total training time: ({NUMBER})m", line):
            reading.values["training_seconds"] = 60.0 * _float(found[1])
        elif found := re.match(rf"Peak memory usage: ({NUMBER})MiB", line):
            reading.values["peak_memory_mib"] = _float(found[1])
    if "val_bpb" not in reading.values:
        reading.fault = "no line 'Step N | Validation bpb: V': not nanochat's output"
    elif last is not None and reading.values["step"] < last:
        reading.fault = f"its last validation is at step {reading.values['step']:g} of {last}"
    elif "training_seconds" not in reading.values:
        reading.fault = "it is cut off before 'Total training time'"
    return reading


def modded_nanogpt(text: str) -> Reading:
    """modded-nanogpt's log: `step:N/M val_loss:V train_time:Tms ...`; the source code that its
    files begin with holds no numbers there."""
    reading = Reading()
    last = None
    pattern = rf"step:(\d+)/(\d+) val_loss:({NUMBER})(?: train_time:({NUMBER})(ms|s))?"
    for line in lines_of(text):
        if found := re.match(pattern, line, re.IGNORECASE):
            step, last, loss = int(found[1]), int(found[2]), _float(found[3])
            reading.values |= {"val_loss": loss, "step": float(step)}
            reading.point("val_loss", step, loss)
            if found[4]:
                scale = 1e-3 if found[5] == "ms" else 1.0
                reading.values["training_seconds"] = scale * _float(found[4])
        elif found := re.match(rf"peak memory allocated: ({NUMBER}) MiB", line):
            reading.values["peak_memory_mib"] = _float(found[1])
    if last is None:
        reading.fault = "no line 'step:N/M val_loss:V': not modded-nanogpt's log"
    elif reading.values["step"] < last:
        reading.fault = f"its last validation is at step {reading.values['step']:g} of {last}"
    return reading


def by_regex(pattern: re.Pattern[str], text: str) -> Reading:
    """Each match's first group, or its group `value`, is the metric; the last one counts.

    A group `name` names it (else `metric`), a group `step` makes the matches a curve.
    """
    reading = Reading()
    for found in pattern.finditer(text):
        groups = found.groupdict()
        value = number(groups.get("value") or found[1] or "")
        if value is None:
            return Reading(fault=f"the expression found '{found[0][:80]}', which is no number")
        name = groups.get("name") or "metric"
        reading.values[name] = value
        if step := number(groups.get("step") or ""):
            reading.point(name, step, value)
    if not reading.values:
        reading.fault = f"nothing in its output matches {pattern.pattern!r}"
    return reading


def _progress(text: str, reading: Reading) -> int | None:
    """Add the training loss along the run; returns the last step that the lines announce."""
    last = None
    for line in lines_of(text):
        if found := _PROGRESS.match(line):
            reading.point("train_loss", _float(found["step"]), _float(found["loss"]))
            last = int(found["last"]) if found["last"] else last
    return last


def _float(text: str) -> float:
    """Of what `NUMBER` matched."""
    return float(text.replace(",", ""))


def _few(values: list[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:3])
    return shown + (", ..." if len(values) > 3 else "")
