"""Facts of the world, in TOML files beside this one; a results folder's `facts/` may override.

Reads text, knows no file's content.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.files import read_regular
from harness.records.untrusted import cleaned

MAX_BYTES = 2**20
"""The most that a file of facts or claims may have: many times what the longest of ours has."""
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{50}}")
"""The parser's memory grows with the square of a key's parts."""


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
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
        if _LONG_KEY.search(text):
            raise RequestError(f"{path} is not read: a key in it has over 50 dotted parts")
        content: dict[str, Any] = cleaned(tomllib.loads(text))
        return content
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise RequestError(f"{path} is not read: it is nested too deeply") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of too many digits
        raise RequestError(f"{path} is not TOML: {error}") from None
