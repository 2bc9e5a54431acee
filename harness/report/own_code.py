"""The code that arms brought themselves, as their records keep it: told whole, or as a difference.

The user's file may have changed or be gone since; what ran stands in the record.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from harness.config import flatten
from harness.plan.diffs import shown
from harness.records.schema import Record
from harness.report.table import no_markup

MARGIN = "    | "


def told(runs: Sequence[Record]) -> Iterator[str]:
    """For each field that holds code: the first arm's text, and how each other arm's differs."""
    texts: dict[str, dict[str, list[str]]] = {}
    for record in runs:
        for path, text in flatten(record.config).items():
            if path.endswith(".code") and text:
                arms = texts.setdefault(path, {}).setdefault(text, [])
                if record.arm not in arms:
                    arms.append(record.arm)
    for path, by_text in texts.items():
        first: tuple[str, str] | None = None
        for text, arms in by_text.items():
            who = ", ".join(arms)
            if first is None or "\n" not in text:
                yield f"  {path} of {who}: {shown(path, text)}"
                lines = text.splitlines() if "\n" in text else []
                first = (who, text)
            else:
                yield f"  {path} of {who}, against that of {first[0]}: {shown(path, text)}"
                old, new = first[1].splitlines(), text.splitlines()
                lines = list(difflib.unified_diff(old, new, first[0], who, lineterm="", n=2))
            yield from (f"{MARGIN}{no_markup(line)}".rstrip() for line in lines)
