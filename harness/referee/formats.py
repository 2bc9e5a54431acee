"""The formats by name: what a script's result is read from, and what is known of its metric.

`--format NAME` or `NAME:WHERE`; WHERE is a file or glob in the run's folder, or the expression of
`regex`. Adding a format is a function from text to `Reading` and one line of `FORMATS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from harness.errors import RequestError, nearest
from harness.referee import formats_json, formats_text
from harness.referee.reading import Reading, Way


@dataclass(frozen=True)
class Format:
    """How results are read."""

    name: str
    read: Callable[[str], Reading]
    metric: str | None = None
    """What such programs are judged by, where their documentation says."""
    way: Way | None = None
    """Which way is better, for that metric."""
    where: str | None = None
    """Glob of the file that is read, in the run's folder; None reads what was printed."""
    text: str = ""
    """As the user wrote it; enters the runs' keys."""


FORMATS = {
    one.name: one
    for one in (
        Format("metric", formats_text.metric_lines),
        Format("blocks", formats_text.blocks),
        Format("autoresearch", formats_text.autoresearch, "val_bpb", "lower"),
        Format("nanochat", formats_text.nanochat, "val_bpb", "lower"),
        Format("modded-nanogpt", formats_text.modded_nanogpt, "val_loss", "lower"),
        Format("json", formats_json.plain, where="results.json"),
        Format("jsonl", formats_json.lines, where="metrics.jsonl"),
        Format("trainer", formats_json.trainer, "eval_loss", "lower", "**/trainer_state.json"),
        Format("lm-eval", formats_json.lm_eval, where="**/results*.json"),
    )
}


def named(text: str) -> Format:
    """The format of `NAME` or `NAME:WHERE`. Raises RequestError for an unknown name, an
    expression that is none, or a place outside the run's folder."""
    name, given, where = text.partition(":")
    if name == "regex":
        return _regex(text, where)
    if name not in FORMATS:
        raise RequestError(f"no format '{name}'{nearest(name, [*FORMATS, 'regex'])}")
    if given and (not where or where.startswith("/") or ".." in where.split("/")):
        raise RequestError(f"--format {text}: '{where}' is no file inside the run's folder")
    return replace(FORMATS[name], text=text, where=where if given else FORMATS[name].where)


def _regex(text: str, pattern: str) -> Format:
    try:
        compiled = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise RequestError(f"--format {text}: no regular expression: {error}") from None
    if not compiled.groups:
        raise RequestError(f"--format {text}: the number must be a group, as in 'loss=(\\S+)'")
    return Format("regex", partial(formats_text.by_regex, compiled), text=text)
