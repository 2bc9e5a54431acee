"""A results folder whose every free text is hostile: tags, links, control and bidi characters,
words for a shell, in each field of each record and evaluation that the schema lets hold a text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.code.provenance import ROOT
from harness.records import evaluation, store
from harness.records.schema import Record

TEXT = (
    "<script>alert(1)</script><img src=http://h.invalid/x onerror=alert(1)>[a](javascript:alert(1))"
    "![b](http://h.invalid/i.png)</style></title><!-- x --><iframe src=x>\x1b]0;t\x07\x1b[2J\x9b31m"
    "\u202e\u2066`id`;$(id)|x\r\n# Heading\n"
    "<a href='javascript:x'>\x00\x7f&lt;b&gt;\"'><svg/onload=x>"
)
RECORDS = ("optimizers/adamw", "optimizers/muon", "pretrain_sft/base")
MARKS = ("<script", "<img", "<iframe", "<svg", "<a href", "](javascript", "](http://h.invalid")
"""What no output may hold as it stands: markup that somebody else wrote."""


def folder(root: Path) -> tuple[Path, set[str]]:
    """The folder, and the fields that took the text (`error`, `software.torch`, ...)."""
    results, taken = root / "results", set[str]()
    for arm in RECORDS:
        shutil.copytree(ROOT / "results" / "records" / arm, results / "records" / arm)
    shutil.copytree(ROOT / "results" / "evaluations", results / "evaluations")
    for kind in ("records", "evaluations"):
        for path in sorted((results / kind).rglob("*.json")):
            content = json.loads(path.read_bytes())
            if kind == "records" and path == min(path.parent.iterdir()):
                content |= {"status": "failed", "error": "x"}
            for holder, name, called in list(_texts(content)):
                kept = holder[name]
                holder[name] = TEXT
                if _belongs(content, path.relative_to(results).as_posix(), kind):
                    taken.add(called)
                else:
                    holder[name] = kept
            path.write_text(json.dumps(content))
    return results, taken


def _texts(content: Any, called: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Every text in plain data: what holds it, by which name, and how that is called."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in list(pairs):
        inner = f"{called}.{name}" if isinstance(content, dict) else called
        if isinstance(value, str):
            yield content, name, inner.removeprefix(".")
        elif isinstance(value, dict | list):
            yield from _texts(value, inner)


def _belongs(content: Any, path: str, kind: str) -> bool:
    """Whether it is of the schema, plausible, and belongs where its file lies."""
    try:
        if kind == "records":
            record = Record.model_validate_json(json.dumps(content))
            return not store.contradictions(record) and store.path_of(record) == path
        scored = evaluation.Evaluation.model_validate_json(json.dumps(content))
        return evaluation.path_of(scored) == path
    except (ValidationError, ValueError):
        return False
