"""Text that fits the terminal: wrapped lines and tables, as wide as it is, and without colours.

Where there is no terminal the width is $COLUMNS, else 80, so that a log reads like a screen.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence

NARROWEST = 20
_QUOTED = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*"|['"])+""")
"""A word of a shell's line, with its quotes."""


def width() -> int:
    """Columns of the terminal."""
    return max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def wrapped(text: str, first: str = "", rest: str | None = None) -> str:
    """`text` in lines that fit; `first` stands before the first one, `rest` (as many spaces where
    none is given) before the others. Words are cut only where one is wider than the terminal."""
    rest = " " * min(len(first), width() // 2) if rest is None else rest
    return textwrap.fill(
        text, width(), initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def say(text: str, first: str = "", rest: str | None = None) -> None:
    """Print a wrapped text."""
    print(wrapped(text, first, rest), flush=True)


def lines(text: str) -> None:
    """Print lines of which each stands for itself: where one is too wide it goes on, further in.
    No word is cut, so that a path can still be copied."""
    for line in text.split("\n"):
        words = line.lstrip(" ")
        margin = " " * (len(line) - len(words))
        if len(line) > width():
            line = "\n".join(
                textwrap.wrap(
                    words, width(), initial_indent=margin, subsequent_indent=f"{margin}    ",
                    break_on_hyphens=False, break_long_words=False,
                )
            )  # fmt: skip
        print(line, flush=True)


def note(text: str) -> None:
    """A wrapped remark beside the answer: on stderr, so that a program that reads does not."""
    print(wrapped(f"note: {text}"), file=sys.stderr, flush=True)


def command(words: str, indent: int = 0) -> str:
    """A command, continued with backslashes where it is too wide, so that it can be copied; all
    its lines but the first are indented. What is quoted stays in one line."""
    found = [""]
    for word in _QUOTED.findall(words):
        longer = f"{found[-1]} {word}" if found[-1] else word
        if found[-1] and len(longer) > width() - indent - 4:
            found.append(f"  {word}")
        else:
            found[-1] = longer
    return (" \\\n" + " " * indent).join(found)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns side by side, the first `left` of them left-aligned, the most important ones first:
    those that find no place on the right are left out."""
    from rich.console import Console
    from rich.table import Table

    needed = [
        max(_longest_word(header), *map(len, column))
        for header, column in zip(headers, zip(*rows, strict=True), strict=True)
    ]
    kept = len(needed)
    while kept > 1 and sum(needed[:kept]) + 2 * (kept - 1) > width():
        kept -= 1
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, header in enumerate(headers[:kept]):
        drawn.add_column(header, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*row[:kept])
    text = io.StringIO()
    console = Console(file=text, width=width(), markup=False, emoji=False, highlight=False)
    console.print(drawn)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _longest_word(header: str) -> int:
    return max(map(len, header.split()), default=0)
