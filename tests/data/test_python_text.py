import ast
import importlib
import inspect

import pytest

from harness.data.python_text import docstrings, is_table, parse, without_docstrings

TRICKY = '''\
"""Module: ünïcode — first."""; import os
# a comment stays
class Empty:
    """Only words."""
class Full:
    ("""In """
     """two parts, in parentheses.""")

    x = "a string that is no docstring"

    async def method(self): "On one line."
    def other(self):
        r"""Raw \\d."""
        # comment
        return "é" """kept"""
    def third(self): "Then code."; return 1
def nested():
    """Outer

        indented.
    """

    def inner():
        """Inner."""
        return 0
    return inner
'''


def stripped(tree: ast.Module) -> str:
    """The tree without docstrings, as text: computed on the tree, not on the source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
                if not node.body and not isinstance(node, ast.Module):
                    node.body = [ast.Pass()]
    return ast.dump(tree)


SOURCES = [TRICKY] + [
    inspect.getsource(importlib.import_module(name))
    for name in ("argparse", "json.decoder", "typing", "heapq", "turtle", "textwrap", "this")
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: repr(source[:20]))
def test_code_is_the_same_tree_less_its_docstrings(source: str) -> None:
    tree = parse(source)
    assert tree is not None
    bare = without_docstrings(source, tree)
    assert ast.dump(ast.parse(bare)) == stripped(ast.parse(source))


def test_docstrings_in_source_order_and_gone_from_the_code() -> None:
    tree = parse(TRICKY)
    assert tree is not None
    assert docstrings(tree).split("\n\n") == [
        "Module: ünïcode — first.",
        "Only words.",
        "In two parts, in parentheses.",
        "On one line.",
        "Raw \\d.",
        "Then code.",
        "Outer",
        "indented.",
        "Inner.",
    ]
    bare = without_docstrings(TRICKY, tree)
    assert "# a comment stays" in bare
    assert "a string that is no docstring" in bare
    assert "ünïcode" not in bare
    assert "parentheses" not in bare


def test_what_does_not_parse_is_none() -> None:
    assert parse("print 'two'") is None


def test_tables_are_told_from_writing() -> None:
    assert is_table("x = [" + "1234, " * 100 + "]")
    assert is_table("'''Codec, generated from 'MAPPING' '''\nimport codecs\n")
    assert not is_table(inspect.getsource(importlib.import_module("heapq")))
