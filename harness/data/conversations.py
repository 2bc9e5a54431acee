"""Conversations without the Hub: small talk of a pinned wheel, and questions about functions.

Both are real text: `chatterbot-corpus`'s dialogues, and the standard library's own words about its
functions, asked for in a few ways. What may not be split shares a unit's name.
"""

from __future__ import annotations

import ast
import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data import stdlib, wheels
from harness.data.chat import ROLES, Message
from harness.data.left_out import Refused, text_fault
from harness.data.python_text import parse
from harness.errors import RequestError

CHATTERBOT = wheels.Wheel(
    "chatterbot_corpus",
    "1.3.3",
    "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
    tag="py2.py3-none-any",
)
_ENGLISH = "chatterbot_corpus/data/english/"

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


@dataclass(frozen=True)
class Talk:
    """A conversation, and the unit that it may not be split from."""

    unit: str
    messages: tuple[Message, ...]


def talk(messages: Any, unit: str | None = None) -> Talk | Refused:
    """A conversation from a row of a data set, or why it is none. Contents that are given as parts
    of text are joined, as chat templates do it.

    Its unit is what the user first says, so that answers to one question stay on one side.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        return Refused("no list of messages", type(messages).__name__)
    plain = []
    for message in messages:
        if not isinstance(message, dict):
            return Refused("messages that are no objects", type(message).__name__)
        role, content = message.get("role"), _joined(message.get("content"))
        if role not in ROLES:
            return Refused("with a role that is not read", repr(role), selection=True)
        if content is None:
            return Refused("without a content", f"of the {role}")
        if fault := text_fault(content):
            return Refused(f"a content that is {fault}", f"of the {role}")
        plain.append({"role": role, "content": content})
    first = next((m["content"] for m in plain if m["role"] == "user"), "")
    name = unit or "talk:" + hashlib.sha256(" ".join(first.split()).lower().encode()).hexdigest()
    return Talk(name, tuple(plain))


def _joined(content: Any) -> Any:
    """`[{"type": "text", "text": ...}, ...]` as one text; anything else as it is."""
    if not isinstance(content, Sequence) or isinstance(content, str) or not content:
        return content
    texts = [
        part["text"]
        for part in content
        if isinstance(part, dict)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    ]
    return "".join(texts) if len(texts) == len(content) else content


def chatterbot(progress: Callable[[str], None]) -> list[Talk]:
    """The English dialogues of `chatterbot-corpus`, its speakers taken for user and assistant.
    Raises RequestError where the wheel cannot be had."""
    import yaml

    path = wheels.fetch(CHATTERBOT, progress, otherwise="use --source hub")
    found: list[Talk] = []
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.namelist()):
            if not (member.startswith(_ENGLISH) and member.endswith(".yml")):
                continue
            for turns in yaml.safe_load(archive.read(member))["conversations"]:
                if not isinstance(turns, list):
                    continue  # a line without an answer
                paired = turns[: len(turns) // 2 * 2]  # a last question has no answer
                one = talk(
                    [
                        {"role": ("user", "assistant")[i % 2], "content": str(turn).strip()}
                        for i, turn in enumerate(paired)
                    ]
                )
                if isinstance(one, Talk):
                    found.append(one)
    return found


def functions() -> list[Talk]:
    """Questions about documented functions, classes and methods of the standard library, answered
    by the first paragraph of their docstrings. A unit is a module, by the name that its prose has
    in pretraining; an answer that another module gave already is left out, with its conversation.
    Raises RequestError."""
    found: list[Talk] = []
    answers: set[str] = set()
    for module, source in stdlib.sources():
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
