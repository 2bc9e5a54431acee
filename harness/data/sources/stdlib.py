"""The kinds `stdlib-prose`, `stdlib-code` and `stdlib-functions`: the standard library of the
running Python as prose, code and questions about its functions. Real text with no download.

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
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.python_text import Module, parse, take_apart
from harness.data.sources import Kind, Prose, SourceCode
from harness.data.units import TextUnit
from harness.errors import RequestError

if TYPE_CHECKING:
    from harness.data.talks import Talk

SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "lib-dynload", "__pycache__"}
)
_TOPICS = "pydoc_data.topics"

SYSTEM = "You explain Python's standard library."
_QUESTIONS = (
    "What does `{call}` do?",
    "Explain `{name}` in Python.",
    "I came across `{call}` in the standard library. What is it for?",
    "What is `{name}` of the standard library?",
)
_FOLLOW_UPS = ("And its method `{call}`?", "What about `{call}`?", "What does `{call}` do then?")
_FEWEST_WORDS, _MOST_WORDS = 4, 150
_MOST_METHODS = 4


class StdlibProse(Prose):
    """Docstrings and the language reference's topics."""

    name = "stdlib-prose"

    def fingerprint(self) -> str:
        return fingerprint()

    def read(self) -> list[TextUnit]:
        return prose()


class StdlibCode(SourceCode):
    """Modules without their docstrings."""

    name = "stdlib-code"

    def fingerprint(self) -> str:
        return fingerprint()

    def read(self) -> list[TextUnit]:
        return code()


class StdlibFunctions(Kind):
    """Questions about documented functions, classes and methods."""

    name = "stdlib-functions"
    holds = frozenset({"chat"})
    origin = "the standard library's documented functions"

    def fingerprint(self) -> str:
        return fingerprint()

    def read(self) -> list[Talk]:
        return functions()


def fingerprint() -> str:
    """Changes when the text does: Python's version, and path and size of each module."""
    listing = "\n".join(f"{name} {path.stat().st_size}" for name, path in _modules())
    return f"{platform.python_version()} {hashlib.sha256(listing.encode()).hexdigest()}"


def prose() -> list[TextUnit]:
    """One unit a module (its docstrings) and one a reference topic. Raises RequestError."""
    modules, topics = _texts()
    return [*(TextUnit(f"stdlib:{module.name}", module.prose) for module in modules), *topics]


def code() -> list[TextUnit]:
    """One unit a module: its source without docstrings; no generated tables. Raises
    RequestError."""
    modules, _ = _texts()
    return [TextUnit(f"stdlib:{m.name}", m.code) for m in modules if m.code is not None]


@lru_cache(maxsize=1)  # prose and code come from one parse
def _texts() -> tuple[tuple[Module, ...], tuple[TextUnit, ...]]:
    modules: list[Module] = []
    topics: list[TextUnit] = []
    for name, source in sources():
        if name == _TOPICS:
            topics += _topics(source)
        elif (module := take_apart(name, source)) is not None:
            modules.append(module)
    return tuple(modules), tuple(topics)


def _topics(source: str) -> list[TextUnit]:
    """`topics = {"assert": "...", ...}`, read as a literal."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(statement.value)
            return [TextUnit(f"topic:{name}", topics[name].strip()) for name in sorted(topics)]
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


def functions() -> list[Talk]:
    """Questions about documented functions, classes and methods of the standard library, answered
    by the first paragraph of their docstrings. A unit is a module, by the name that its prose has
    in pretraining; an answer that another module gave already is left out, with its conversation.
    Raises RequestError."""
    from harness.data.talks import Talk, talk

    found: list[Talk] = []
    answers: set[str] = set()
    for module, source in sources():
        if (tree := parse(source)) is None or any(p.startswith("_") for p in module.split(".")):
            continue
        for turns in _dialogues(module, tree):
            said = {turn["content"] for turn in turns if turn["role"] == "assistant"}
            if said & answers:
                continue
            answers |= said
            one = talk(turns, unit=f"stdlib:{module}")
            if isinstance(one, Talk):
                found.append(one)
    if not found:
        raise RequestError("this Python's standard library has no documented functions")
    return found


def _dialogues(module: str, tree: ast.Module) -> Iterator[list[dict[str, str]]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if answer := _answer(node):
                yield _asked(f"{module}.{node.name}", _arguments(node), [], answer)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = [
                (f"{item.name}{_arguments(item, method=True)}", answer)
                for item in node.body
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
                and (answer := _answer(item))
            ]
            if answer := _answer(node):
                yield _asked(f"{module}.{node.name}", "", methods[:_MOST_METHODS], answer)
                methods = methods[_MOST_METHODS:]
            for call, answer in methods:
                yield _asked(f"{module}.{node.name}.{call.partition('(')[0]}",
                             "(" + call.partition("(")[2], [], answer)  # fmt: skip


def _asked(
    name: str, arguments: str, methods: Iterable[tuple[str, str]], answer: str
) -> list[dict[str, str]]:
    """One conversation; the wording follows from a hash of the name."""
    draw = hashlib.sha256(name.encode()).digest()
    question = _QUESTIONS[draw[0] % len(_QUESTIONS)].format(name=name, call=name + arguments)
    turns = [{"role": "system", "content": SYSTEM}] if draw[1] % 8 == 0 else []
    turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    for i, (call, reply) in enumerate(methods):
        again = _FOLLOW_UPS[draw[2 + i] % len(_FOLLOW_UPS)].format(call=call)
        turns += [{"role": "user", "content": again}, {"role": "assistant", "content": reply}]
    return turns


def _answer(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The first paragraph of a public thing's docstring, in one line; empty where there is none
    of a fair length."""
    if node.name.startswith("_"):
        return ""
    paragraph = (ast.get_docstring(node) or "").strip().split("\n\n")[0]
    words = paragraph.split()
    return " ".join(words) if _FEWEST_WORDS <= len(words) <= _MOST_WORDS else ""


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool = False) -> str:
    text = ast.unparse(node.args)
    if method:
        first, _, rest = text.partition(", ")
        text = rest if first in ("self", "cls") else text
    return f"({text})"
