"""A claims file from disk: TOML that a stranger wrote, read without trusting its size or depth.

Says on which line a claim or a field stands, for errors. Knows no field's meaning.
"""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from harness.errors import RequestError

MOST_BYTES = 8_000_000
MOST_DOTS = 50
"""Parts of a dotted key: TOML's reader takes memory by the square of them."""
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_CLAIM = re.compile(r"\s*\[\[\s*claim\s*\]\]")


def toml_text(path: Path) -> str:
    """The text of a regular file of at most `MOST_BYTES`, with or without a byte-order mark.

    Raises RequestError, naming the file, for a pipe, a folder, what is too large or not UTF-8.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise RequestError(f"{path} is not a regular file")
        if found.st_size > MOST_BYTES:
            raise RequestError(f"{path} has {found.st_size:,} bytes; claims have {MOST_BYTES:,}")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not UTF-8 at byte {error.start:,}") from None


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """The content of TOML. Raises RequestError with one line naming the file and the fault."""
    for number, line in enumerate(text.splitlines(), 1):
        keys = re.split(r"[=,{}]", _STRING.sub("", line)) if line.count(".") > MOST_DOTS else ()
        if any(key.count(".") > MOST_DOTS for key in keys):
            raise RequestError(f"{name}:{number}: a key of more than {MOST_DOTS} parts")
    try:
        content: dict[str, Any] = _printable(tomllib.loads(text))
        return content
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{name} is not TOML: {error}") from None
    except ValueError:  # Python's own limit on the digits of an integer
        raise RequestError(f"{name} has an integer of thousands of digits") from None
    except RecursionError:
        raise RequestError(f"{name} nests too deeply") from None


def _printable(content: Any) -> Any:
    """The same with no character that moves a terminal's cursor or turns a line's direction."""
    if isinstance(content, str):
        return _CONTROL.sub("", content)
    if isinstance(content, dict):
        return {_CONTROL.sub("", name): _printable(value) for name, value in content.items()}
    return [_printable(value) for value in content] if isinstance(content, list) else content


def heads(text: str) -> dict[int, int]:
    """Claim (from 1) -> the line of its [[claim]]; of claims written otherwise nothing."""
    lines = (number for number, line in enumerate(text.splitlines(), 1) if _CLAIM.match(line))
    return dict(enumerate(lines, 1))


def line_of(text: str, claim: int, message: str) -> int | None:
    """The line of claim number `claim` (from 1): of the field that `message` names first, else of
    its header; None where claims are not written as [[claim]]."""
    lines, found = text.splitlines(), heads(text)
    if claim not in found:
        return None
    start, end = found[claim] - 1, found.get(claim + 1, len(lines) + 1) - 1
    for word in re.findall(r"[A-Za-z_]\w+", message):
        field = re.compile(rf"(?:^|[{{,\s]){word}\s*=|^\s*\[+claim\.{word}\b")
        for number in range(start, end):
            if field.search(_STRING.sub('""', lines[number])):
                return number + 1
    return start + 1
