"""Mutants of valid documents: fields dropped, doubled, retyped; numbers without end, nesting, odd
unicode; files truncated, in other encodings, or no files at all."""

from __future__ import annotations

import copy
import json
import os
import random
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

HUGE, DEEP = 10**400, 3000
ODD_TEXTS = (
    "", " ", "\x00", "\x1b[2J\x1b]0;x\x07", "\u202e\u2066x", "\x85\x9b31m", "../../../etc/x",
    "/etc/passwd", "<script>alert(1)</script>", "[a](javascript:x)", "![x](http://h/i.png)",
    "`id`; $(id)", "a|b\n\n# c", "nan", "1e999", "-0", "💥" * 50, "é" * 5000, "\u0000\ufffe",
    "%s%n{0}{x.__class__}", "smol run x; id", "\ufeff", "a\r\nb", "..", ".", "-h", "--", "∞",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), HUGE, 0.5, -0.0, 1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"), [], {}, [[]], {"": None}, [None], "x",
)  # fmt: skip


def value(chance: random.Random) -> Any:
    if chance.random() < 0.5:
        return chance.choice(ODD_VALUES)
    if chance.random() < 0.1:
        deep: Any = []
        for _ in range(DEEP):
            deep = [deep]
        return deep
    return chance.choice(ODD_TEXTS)


def changed(content: Any, chance: random.Random) -> Any:
    """A copy of plain data with one to three changes."""
    content = copy.deepcopy(content)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(content))
        if not places:
            return value(chance)
        holder, name = chance.choice(places)
        _change(holder, name, chance)
    return content


def _places(content: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    stack = [content]
    while stack and len(found) < 20_000:
        one = stack.pop()
        names = (
            list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else []
        )
        found += [(one, name) for name in names]
        stack += [one[name] for name in names]
    return found


def _change(holder: Any, name: Any, chance: random.Random) -> None:
    what = chance.randrange(7)
    if what == 0:
        del holder[name]
    elif what == 1 and isinstance(holder, dict):
        holder[chance.choice(ODD_TEXTS)] = holder.pop(name)
    elif what == 2:
        other = chance.choice(_places(holder))
        holder[name] = other[0][other[1]]
    elif what == 3 and isinstance(holder[name], int | float) and not isinstance(holder[name], bool):
        holder[name] = chance.choice(
            [-holder[name], holder[name] * 1000, holder[name] + 1, str(holder[name])]
        )
    elif what == 4:
        holder[name] = [holder[name]] * chance.choice([1, 2, 300])
    elif what == 5 and isinstance(holder[name], str):
        holder[name] = holder[name][: len(holder[name]) // 2] + chance.choice(ODD_TEXTS)
    else:
        holder[name] = value(chance)


def as_bytes(text: str, chance: random.Random) -> bytes:
    """A text as a file's bytes, spoilt one time in three."""
    data = text.encode("utf-8", "surrogatepass")
    what = chance.randrange(24)
    if what == 0:
        return data[: chance.randrange(len(data) + 1)]
    if what == 1:
        return text.encode("utf-16", "surrogatepass")
    if what == 2:
        return b"\xef\xbb\xbf" + data
    if what == 3:
        place = chance.randrange(len(data) + 1)
        return data[:place] + bytes(chance.randrange(256) for _ in range(8)) + data[place:]
    if what == 4:
        return b""
    if what == 5:
        return data + data
    if what == 6:
        return text.encode("latin-1", "replace")
    if what == 7:
        return b"\x00" * 64 + data
    return data


def put(path: Path, data: bytes, chance: random.Random) -> None:
    """Put a file there, or one time in fifteen something that is none."""
    what = chance.randrange(60)
    path.parent.mkdir(parents=True, exist_ok=True)
    if what == 0:
        os.mkfifo(path)
    elif what == 1:
        path.symlink_to("/etc/passwd")
    elif what == 2:
        path.mkdir()
    elif what == 3:
        path.symlink_to(path.name)
    else:
        path.write_bytes(data)


def dumped(content: Any, chance: random.Random) -> str:
    """JSON, with a field said twice now and then."""
    try:
        text = json.dumps(content, ensure_ascii=chance.random() < 0.5)
    except (RecursionError, ValueError):
        return "[" * DEEP + "]" * DEEP
    if chance.random() < 0.05 and text.startswith("{") and len(text) > 2:
        key = next(iter(content))
        text = "{" + json.dumps(key) + ": null, " + text[1:]
    return text


def toml(content: Any) -> str:
    """Plain data as TOML, as far as it goes; what does not go is left to be no TOML."""
    lines: list[str] = []

    def inline(one: Any) -> str:
        if isinstance(one, dict):
            return (
                "{" + ", ".join(f"{json.dumps(str(k))} = {inline(v)}" for k, v in one.items()) + "}"
            )
        if isinstance(one, list):
            return "[" + ", ".join(map(inline, one)) + "]"
        if isinstance(one, float):
            return repr(one)
        if one is None:
            return '"null"'
        return json.dumps(one, default=str)

    try:
        for key, one in content.items():
            if isinstance(one, list) and one and all(isinstance(o, dict) for o in one):
                for entry in one:
                    lines.append(f"[[{json.dumps(key)}]]")
                    lines += [f"{json.dumps(str(k))} = {inline(v)}" for k, v in entry.items()]
            elif isinstance(one, dict):
                lines.append(f"[{json.dumps(key)}]")
                lines += [f"{json.dumps(str(k))} = {inline(v)}" for k, v in one.items()]
            else:
                lines.insert(0, f"{json.dumps(key)} = {inline(one)}")
    except (RecursionError, ValueError, AttributeError):
        return "x = " + "[" * DEEP
    return "\n".join(lines) + "\n"


def of_json(path: Path) -> Callable[[random.Random], bytes]:
    """Mutants of a JSON file."""
    content = json.loads(path.read_bytes())
    return lambda chance: as_bytes(dumped(changed(content, chance), chance), chance)


def of_toml(path: Path) -> Callable[[random.Random], bytes]:
    """Mutants of a TOML file."""
    content = json.loads(json.dumps(tomllib.loads(path.read_text("utf-8")), default=str))
    return lambda chance: as_bytes(toml(changed(content, chance)), chance)


def of_bytes(path: Path) -> Callable[[random.Random], bytes]:
    """Mutants of a binary file: bytes changed, taken out, or put in."""
    content = path.read_bytes()

    def mutant(chance: random.Random) -> bytes:
        data = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            place, what = chance.randrange(len(data) + 1), chance.randrange(4)
            if what == 0:
                del data[place : place + chance.choice([1, 16, 4096])]
            elif what == 1:
                data[place:place] = os.urandom(0) + bytes(chance.choice([1, 16, 4096]))
            elif data and place < len(data):
                data[place] ^= 1 << chance.randrange(8)
        return bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.1 else data)

    return mutant
