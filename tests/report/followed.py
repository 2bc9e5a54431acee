"""A card read as a person reads it: each number in a view, followed by the address it stands at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness.report import card
from harness.report.trace import Tracer

ITEM = re.compile(r"(\d+)\. (.*)")
VIEW = re.compile(r"<!-- view: (\S+) begin -->\n(.*?)\n<!-- view: \1 end -->", re.DOTALL)
NUMBER = re.compile(r"\d")


def addresses(text: str) -> Iterator[tuple[str, str]]:
    """(address, printed text) of all that stands in a card's views. Raises ValueError for a line
    in a view that has no address."""
    for view, content in VIEW.findall(text):
        header: list[str] = []
        notes = 0
        lines = content.splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            if not line:
                continue
            if item := ITEM.fullmatch(line):  # a list's cells stand one after another
                answer, _, details = item[2].partition(" [Details](")
                yield f"{view}/{item[1]}/answer", answer
                if details:
                    yield f"{view}/{item[1]}/details", f"[Details]({details}"
            elif line.startswith("|"):
                texts = [text.strip() for text in line.strip("|").split(" | ")]
                if set(line) <= set("|-: "):
                    continue
                if after.startswith("| -"):  # a wide view is several tables
                    header = texts
                    continue
                for column, text in zip(header[1:], texts[1:], strict=True):
                    yield f"{view}/{texts[0]}/{column}", text
            elif line.startswith(f"**`{view}`** "):
                yield f"{view}/caption", line.removeprefix(f"**`{view}`** ")
            elif line.startswith("!["):
                yield f"{view}/figure", line.rpartition("/")[2].removesuffix(")")
            elif line.startswith("- "):
                notes += 1
                yield f"{view}/note-{notes}", line.removeprefix("- ")
            elif line.startswith("Reproduce: "):
                continue  # the command, which every answer ends with
            elif not header and not line.startswith("|"):
                yield f"{view}/caption", line
            else:
                raise ValueError(f"{view}: nothing leads to '{line}'")


def follow(text: str, tracer: Tracer) -> set[str]:
    """The addresses that `smol trace` leads home from, in its own spelling.

    Raises AssertionError where the answer is not what is printed, or names nothing behind it.
    """
    seen = set()
    for address, printed in addresses(text):
        answer = tracer.trace(address)
        first = answer.splitlines()[0]
        assert first.endswith(f" = {printed}"), (address, printed, first)
        name = first.removesuffix(f" = {printed}")
        cell = tracer.cells()[name]
        if NUMBER.search(printed):
            assert cell.records or "resolved configuration" in cell.aggregation, name
        assert re.search(r"\n  reproduce    (smol|nox) ", answer), name
        seen.add(name)
    return seen


def everything(results: Path) -> str:
    """The card and all its pages, as one text."""
    return "\n".join(card.render(results).values())
