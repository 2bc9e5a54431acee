"""What a user sets on the command line: `--set field=value`, as dotted paths and values."""

from __future__ import annotations

import json
from typing import Any

from harness.errors import RequestError


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """`["optim.muon_lr=0.02"]` -> `{"optim.muon_lr": 0.02}`.

    A value is read as JSON, else as text. Whole numbers stand for floats where the field is one.
    Raises RequestError for a pair without `=`.
    """
    changes: dict[str, Any] = {}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals or not path.strip():
            raise RequestError(f"--set takes field=value, not '{pair}'")
        try:
            value = json.loads(text)
        except ValueError:
            value = text.strip()
        changes[path.strip()] = _tuples(value)
    return changes


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
