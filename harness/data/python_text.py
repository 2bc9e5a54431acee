"""Python source taken apart: its docstrings as prose, and its code without them.

The two never share text, so that prose and code of one module can be two sources. Pure functions
of the source; may not read files.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from itertools import accumulate

_GENERATED_HEAD = 400
_TABLE_DIGITS = 0.15


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or None for what this Python cannot parse (templates, other versions)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return None


@dataclass(frozen=True)
class Module:
    """A module taken apart."""

    name: str
    """Dotted."""
    prose: str
    """Its docstrings."""
    code: str | None
    """Its source without them; None for a table."""


def take_apart(name: str, source: str) -> Module | None:
    """A module's prose and code from one parse; None for what cannot be parsed."""
    if (tree := parse(source)) is None:
        return None
    code = None if is_table(source) else without_docstrings(source, tree)
    return Module(name, docstrings(tree), code)


def docstrings(tree: ast.Module) -> str:
    """Every docstring of a module in source order, indentation cleaned, a blank line between."""
    found = sorted(_documented(tree), key=lambda node: node.body[0].lineno)
    texts = (ast.get_docstring(node, clean=True) or "" for node in found)
    return "\n\n".join(text.strip() for text in texts if text.strip())


def without_docstrings(source: str, tree: ast.Module) -> str:
    """The source with its docstrings cut out; comments stay.

    A body that held nothing else gets `pass`, so that the result parses to the same tree less
    its docstrings.
    """
    text = source.encode()
    # ast counts columns in UTF-8 bytes and lines from 1.
    starts = [0, *accumulate(len(line) for line in re.findall(rb"[^\n]*\n|[^\n]+", text))]
    pieces: list[bytes] = []
    done = 0
    for node in sorted(_documented(tree), key=lambda node: node.body[0].lineno):
        string = node.body[0]
        assert string.end_lineno is not None
        assert string.end_col_offset is not None
        first = starts[string.lineno - 1] + string.col_offset
        last = starts[string.end_lineno - 1] + string.end_col_offset
        # Parentheses around the string and a semicolon after it are not in the tree.
        while (outer := re.search(rb"\(\s*\Z", text[done:first])) and (
            closing := re.match(rb"\s*\)", text[last:])
        ):
            first, last = done + outer.start(), last + closing.end()
        if len(node.body) == 1 and not isinstance(node, ast.Module):
            pieces += [text[done:first], b"pass"]
            done = last
            continue
        if semicolon := re.match(rb"[ \t]*;[ \t]*", text[last:]):
            last += semicolon.end()
        line_start = text.rfind(b"\n", 0, first) + 1
        rest = re.match(rb"[ \t]*(?:\n|\Z)", text[last:])
        if not text[line_start:first].strip() and rest:
            first, last = line_start, last + rest.end()
        pieces.append(text[done:first])
        done = last
    pieces.append(text[done:])
    return b"".join(pieces).decode()


def is_table(code: str) -> bool:
    """Whether code is data rather than writing: generated from elsewhere, or mostly numbers."""
    if "generated from" in code[:_GENERATED_HEAD].lower():
        return True
    return sum(map(str.isdigit, code)) > _TABLE_DIGITS * len(code)


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(tree: ast.Module) -> list[_Documented]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, _Documented) and ast.get_docstring(node, clean=False) is not None
    ]
