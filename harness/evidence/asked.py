"""What was asked for beside a recipe as it is declared, in the words that a user gave. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOURCES = "data.sources"
_OF_TEXT = {"name", "kind", "share", "paths"}


def words(overrides: Mapping[str, Any]) -> list[str]:
    """`--text` with the names of files, `--from` with a model, and of other fields `field=value`.

    Files that are all of a mix are what `--text` makes of them: as a list of sources they would
    fill a screen.
    """
    found: list[str] = []
    for path, value in overrides.items():
        files = _files(value) if path == SOURCES else []
        if files:
            found += [f"--text {name}" for name in files]
        elif path.startswith("--"):
            found.append(f"{path} {value}")
        else:
            found.append(f"{path}={value}")
    return found


def exploratory(overrides: Mapping[str, Any]) -> str:
    """Why no verdict is given of what was not asked beforehand; empty where nothing is."""
    options = [word for word in words(overrides) if word.startswith("--")]
    fields = [word for word in words(overrides) if not word.startswith("--")]
    if fields:
        options.append(f"--set {', '.join(fields)}")
    return ", ".join(["exploratory", *options]) if options else ""


def _files(sources: Any) -> list[str]:
    """The names of the files that are the whole of a mix; none where it is another."""
    if not isinstance(sources, list | tuple) or len(sources) != 1:
        return []
    (source,) = sources
    if not isinstance(source, Mapping) or not set(source) <= _OF_TEXT:
        return []
    paths = source.get("paths")
    return [Path(str(path)).name for path in paths] if isinstance(paths, list | tuple) else []
