"""The standard library of the running Python as prose and code: real text with no download.

It differs from one Python version to the next, so both the version and the listing of files enter
the cache's key. May not import what it reads.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import platform
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from harness.data.python_text import Module, take_apart
from harness.data.units import Unit
from harness.errors import RequestError

SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "lib-dynload", "__pycache__"}
)
_TOPICS = "pydoc_data.topics"


def fingerprint() -> str:
    """Changes when the text does: Python's version, and path and size of each module."""
    listing = "\n".join(f"{name} {path.stat().st_size}" for name, path in _modules())
    return f"{platform.python_version()} {hashlib.sha256(listing.encode()).hexdigest()}"


def prose() -> list[Unit]:
    """One unit a module (its docstrings) and one a reference topic. Raises RequestError."""
    modules, topics = _texts()
    return [*(Unit(f"stdlib:{module.name}", module.prose) for module in modules), *topics]


def code() -> list[Unit]:
    """One unit a module: its source without docstrings; no generated tables. Raises
    RequestError."""
    modules, _ = _texts()
    return [Unit(f"stdlib:{m.name}", m.code) for m in modules if m.code is not None]


@lru_cache(maxsize=1)  # prose and code come from one parse
def _texts() -> tuple[tuple[Module, ...], tuple[Unit, ...]]:
    modules: list[Module] = []
    topics: list[Unit] = []
    for name, source in sources():
        if name == _TOPICS:
            topics += _topics(source)
        elif (module := take_apart(name, source)) is not None:
            modules.append(module)
    return tuple(modules), tuple(topics)


def _topics(source: str) -> list[Unit]:
    """`topics = {"assert": "...", ...}`, read as a literal."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(statement.value)
            return [Unit(f"topic:{name}", topics[name].strip()) for name in sorted(topics)]
    return []


def sources() -> Iterator[tuple[str, str]]:
    """(dotted name, source) of each module, sorted by name. Raises RequestError."""
    for name, path in _modules():
        try:
            yield name, importlib.util.decode_source(path.read_bytes())
        except (SyntaxError, UnicodeDecodeError):
            continue  # templates in an encoding of their own; the fingerprint still counts them
        except OSError as error:
            raise RequestError(f"cannot read the standard library's {name}: {error}") from None


@lru_cache(maxsize=1)
def _modules() -> tuple[tuple[str, Path], ...]:
    """(dotted name, path), sorted by name."""
    root = Path(sysconfig.get_paths()["stdlib"])
    if not root.is_dir():
        raise RequestError(
            "this Python has no folder with its standard library's source; use wheel or files "
            "sources"
        )
    found = []
    for folder, inside, names in os.walk(root):
        inside[:] = [name for name in inside if name not in SKIPPED_FOLDERS]  # not gone into
        for name in names:
            if name.endswith(".py") and not name.startswith("_sysconfigdata"):
                path = Path(folder, name)
                parts = path.relative_to(root).with_suffix("").parts
                found.append((".".join(parts).removesuffix(".__init__"), path))
    return tuple(sorted(found))
