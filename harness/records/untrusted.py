"""Files that somebody else may have written: read whole only if small, and without the characters
that write over a terminal or turn a line's direction.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from harness.files import read_regular

MAX_JSON_BYTES = 64 * 2**20
"""The most that an index, an evaluation or a bench may have: many times what ours come to."""
KEPT = "\n\t"
TOO_DEEP = b"nested more deeply than it can be read"
"""In the place of such a text: no JSON, so that whoever parses it refuses it."""
_ESCAPED = re.compile(rb"\\[bfru]")
"""How a JSON text may write a control character."""
_BIDI = "\u061c\u200e\u200f" + "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))


def read_json(path: Path, most: int = MAX_JSON_BYTES) -> bytes:
    """The JSON text of a file, its strings `without_controls`.

    Raises OSError for what is no regular file, or has more than `most` bytes.
    """
    return json_without_controls(read_regular(path, most))


def json_without_controls(text: bytes) -> bytes:
    """A JSON text whose strings hold no control characters; the same bytes where they hold none,
    and where it is no JSON, which whoever parses it says."""
    try:
        raw = text.decode("utf-8")
        if not _ESCAPED.search(text) and without_controls(raw, kept="\n\t\r") == raw:
            return text
        return json.dumps(cleaned(json.loads(raw))).encode()
    except ValueError:
        return text
    except RecursionError:  # what could not be cleaned is not handed on
        return TOO_DEEP


def cleaned(value: Any) -> Any:
    """Plain data, with every string in it `without_controls`."""
    if isinstance(value, str):
        return without_controls(value)
    if isinstance(value, dict):
        return {cleaned(name): cleaned(one) for name, one in value.items()}
    if isinstance(value, list):
        return [cleaned(one) for one in value]
    return value


def without_controls(text: str, kept: str = KEPT) -> str:
    """Text without C0 and C1 controls (line ends and tabs stay) and without bidi controls."""
    return _controls(kept).sub("", text)


@cache
def _controls(kept: str) -> re.Pattern[str]:
    """What is taken out: Unicode's category Cc, and what turns a line's direction."""
    taken = [chr(n) for n in (*range(0x20), *range(0x7F, 0xA0))] + list(_BIDI)
    return re.compile("[" + "".join(re.escape(one) for one in taken if one not in kept) + "]")
