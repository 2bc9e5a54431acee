"""Facts of the world, in TOML files beside this one; a results folder's `facts/` may override.

Reads text, knows no file's content.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import RequestError


def read_toml(name: str, results: Path | None = None, *, package: str = __name__) -> dict[str, Any]:
    """`<results>/facts/<name>` where there is one, else the file that came with `package`.

    Raises RequestError for a file that cannot be read or is not TOML.
    """
    own = results / "facts" / name if results else None
    if own is not None and own.exists():
        return parse_toml(own)
    text = resources.files(package).joinpath(name).read_text("utf-8")
    return tomllib.loads(text)


def parse_toml(path: Path) -> dict[str, Any]:
    """A TOML file of the user's. Raises RequestError naming it and the fault."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} is not TOML: {error}") from None
