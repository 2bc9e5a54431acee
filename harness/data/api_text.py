"""API documentation in JSON, with HTML inside, as plain text. Pure functions."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Any

_BLOCK = re.compile(
    r"</?(?:p|ul|ol|li|dl|dt|dd|br|div|note|important|caution|warning|h[1-6]|pre|table|tr|td|th"
    r"|fullname|title|section|para|itemizedlist|listitem)\b[^<>]*>",
    re.IGNORECASE,
)
_ITEM = re.compile(r"<li\b[^<>]*>\s*(?:<p>)?", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)
_MARK = "\0"


def plain(documentation: str) -> list[str]:
    """The paragraphs of an HTML fragment: tags gone, entities resolved, spaces single, list items
    with a dash."""
    text = _ITEM.sub(f"{_MARK}- ", documentation)
    text = _TAG.sub("", _BLOCK.sub(_MARK, text))
    found = (" ".join(html.unescape(part).split()) for part in text.split(_MARK))
    return [part for part in found if part not in ("", "-")]


def service_text(versions: Iterable[dict[str, Any]]) -> tuple[str, int]:
    """A service's documentation, one paragraph after another, from the first version given on:
    the service, its operations by name, its shapes with their members.

    Each paragraph stands once, whatever its length; returns the text and how many were repeats.
    """
    known: dict[str, list[str]] = {}
    paragraphs: dict[str, None] = {}
    count = 0
    for version in versions:
        for documentation in _strings(version):
            if documentation not in known:
                known[documentation] = plain(documentation)
            count += len(known[documentation])
            paragraphs.update(dict.fromkeys(known[documentation]))
    return "\n\n".join(paragraphs), count - len(paragraphs)


def _strings(service: dict[str, Any]) -> Iterator[str]:
    yield service.get("documentation") or ""
    for section in ("operations", "shapes"):
        for _, entry in sorted(service.get(section, {}).items()):
            yield entry.get("documentation") or ""
            for _, member in sorted(entry.get("members", {}).items()):
                yield member.get("documentation") or ""
