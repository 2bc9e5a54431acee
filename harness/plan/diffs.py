"""In which fields two configurations differ, and how such a field's value is shown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config import NEUTRAL_FIELDS, RunConfig, flatten


def difference(a: RunConfig, b: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The fields in which two configurations differ: path -> (a's value, b's value), None for a
    setting that one of them does not have."""
    return differing(flatten(a), flatten(b))


def differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """As `difference`, of two configurations that are flat already."""
    return {
        path: (left.get(path), right.get(path))
        for path in {**left, **right}
        if path not in NEUTRAL_FIELDS
        # A field that is there and None is not one that is not there.
        and (left.get(path) != right.get(path) or (path in left) != (path in right))
    }


def differing_anywhere(configs: Sequence[Mapping[str, Any]]) -> set[str]:
    """The paths at which any of several flat configurations differs from the first."""
    first = configs[0] if configs else {}
    return {path for other in configs[1:] for path in differing(first, other)}


def shown(path: str, value: Any) -> Any:
    """A field's value as differences and tables have it: of a text of code its digest."""
    is_code = path.endswith(".code") and isinstance(value, str) and "\n" in value
    return f"sha256 {hashlib.sha256(value.encode()).hexdigest()[:16]}" if is_code else value
