"""The card and its pages as GitHub shows a Markdown file: their length, and nothing cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from harness.report import card
from tests.browser.conftest import SIZES, window

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
RESULTS = Path(__file__).parents[2] / "results"
PAGES = [
    RESULTS / card.CARD,
    *sorted((RESULTS / "cards").glob("*.md")),
    *sorted((RESULTS / "ladder" / "cards").glob("ladder-*.md")),
]
LOOK = """
body { margin: 0; font: 16px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, sans-serif }
article { max-width: 980px; margin: 0 auto; padding: 32px; box-sizing: border-box;
  overflow-wrap: break-word }
@media (max-width: 767px) { article { padding: 16px } }
table { display: block; width: max-content; max-width: 100%; overflow: auto;
  border-collapse: collapse }
th, td { padding: 6px 13px; border: 1px solid #d0d7de }
img { max-width: 100% }
pre { padding: 16px; overflow: auto; font-size: 85%; line-height: 1.45 }
code { font-size: 85%; padding: .2em .4em; white-space: break-spaces }
pre code { padding: 0; font-size: 100%; white-space: pre }
"""
"""What GitHub's own style says of the width of things."""
SCROLLS = """[...document.querySelectorAll("table, pre")].filter(
  (one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.innerText.slice(0, 80))"""
MISSING = """[...document.images].filter((one) => !one.naturalWidth).map((one) => one.src)"""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_as_github_shows_it(chromium: Any, path: Path, size: str) -> None:
    text = path.read_text("utf-8")
    if text.startswith("---\n"):
        text = text.split("\n---\n", 1)[1]
    body = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    first = path == PAGES[0]
    with window(chromium, size) as seen:
        base = f"<base href='{path.resolve().parent.as_uri()}/'>"
        seen.page.goto(path.resolve().parent.as_uri())  # pictures of a file may be shown by a file
        seen.page.set_content(f"{base}<style>{LOOK}</style><article>{body}</article>")
        seen.page.wait_for_load_state("load")
        if first:
            seen.keep(f"card-{size}", whole=True)
        assert seen.overflow() <= 0
        if first or size == "desktop":  # on a phone a table of a page scrolls by itself
            assert seen.page.evaluate(SCROLLS) == []
        assert seen.page.evaluate(MISSING) == []
        assert seen.elsewhere() == []
        if first and size == "desktop":
            height = seen.page.evaluate("document.documentElement.scrollHeight")
            assert height <= 5 * SIZES[size][1]
