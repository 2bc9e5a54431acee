"""What the pages of the repository link to is there: files, and headings within them."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from harness.code.provenance import ROOT

PAGES = sorted(
    page.relative_to(ROOT)
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)  # fmt: skip
LINK = re.compile(r"\]\(([^()\s]+)\)")
GENERATED = ("commands/", "names/", "notebooks/")
"""Below docs/: made by `docs/generate.py`; the site's own build follows links to them."""


def links(text: str) -> list[str]:
    """What it links to, outside blocks and spans of code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return LINK.findall(re.sub(r"`[^`\n]*`", "", text))


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        kept = [c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN"]
        found.add("".join(kept).strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in links((ROOT / page).read_text("utf-8")):
        place, _, anchor = link.partition("#")
        if "://" in link or (page.parts[0] == "docs" and place.startswith(GENERATED)):
            continue
        target = (ROOT / page.parent / place) if place else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_readme_is_a_page_that_people_finish() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    assert "pip install nox && nox -s run -- dense_vs_moe --scale smoke" in text
    assert "pip install nox && nox -s tests" in text
