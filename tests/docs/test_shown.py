"""What the pages show is what the program takes: every command and every file of Python in them."""

from __future__ import annotations

import ast
import re
import shlex

import pytest

from harness.cli import _group
from harness.code.provenance import ROOT
from harness.commands import DOOR
from harness.errors import RequestError

PAGES = (
    ROOT / "README.md",
    ROOT / "AGENTS.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").glob("*.md"),
)


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every block in a language."""
    return [
        (page.name, text)
        for page in sorted(PAGES)
        for text in re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)
    ]


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command that a block of bash shows; `&&` joins two."""
    found = []
    for page, text in blocks("bash"):
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            while "&&" in words:
                cut = words.index("&&")
                found.append((page, words[:cut]))
                words = words[cut + 1 :]
            if words:
                found.append((page, words))
    return found


def parse(words: list[str]) -> None:
    """As the door reads them, up to the command's own work. Raises what the door would say."""
    group = _group("smol", DOOR, root=True)
    context = group.make_context("smol", list(words))
    while hasattr(group, "group"):
        words = [*context._protected_args, *context.args]
        name, command, rest = group.resolve_command(context, words)
        context = command.make_context(name, list(rest), parent=context)
        group = command


SHOWN = commands()


def test_there_is_something_to_look_at():
    assert len(SHOWN) > 40
    assert {page for page, _ in SHOWN} >= {"README.md", "first-run.md", "data.md", "models.md"}
    assert len(blocks("python")) >= 6


@pytest.mark.parametrize(
    ("page", "words"), SHOWN, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in SHOWN]
)
def test_a_command_that_is_shown_is_one_that_is_taken(page, words):
    if words[0] == "nox":
        sessions = re.findall(
            r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.M
        )
        assert words[1] == "-s"
        assert words[2] in sessions
        if words[2] == "run":
            parse(["run", *words[words.index("--") + 1 :]])
        return
    if words[:2] in (["pip", "install"], ["ray", "start"]):  # others' programs
        return
    assert words[0] == "smol", f"{page} shows '{words[0]}', which this test knows nothing of"
    parse(words[1:])


@pytest.mark.parametrize("wrong", ["run --scael smoke", "runn", "trace", "data prepare pretrian"])
def test_a_wrong_one_would_be_seen(wrong):
    with pytest.raises(Exception) as refused:  # noqa: PT011 - the parser's or ours
        parse(wrong.split())
    assert isinstance(refused.value, RequestError) or type(refused.value).__name__ in (
        "NoSuchOption", "MissingParameter",
    )  # fmt: skip


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_that_is_shown_imports_what_is_there(page, text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
            "harness", "models", "recipes",
        ):  # fmt: skip
            module = __import__(str(node.module), fromlist=["_"])
            for alias in node.names:
                if not hasattr(module, alias.name):
                    __import__(f"{node.module}.{alias.name}")
