"""A real browser: Debian's chromium, or the one that playwright finds for itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

KEPT = Path(os.environ.get("SMOL_SCREENSHOTS", Path(__file__).parents[2] / "screenshots"))
"""Where pictures of the pages are left, to be looked at."""
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@dataclass
class Seen:
    """A page, and all that it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def go(self, url: str) -> None:
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        measure = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
        return int(self.page.evaluate(f"{measure} - innerWidth"))

    def elsewhere(self) -> list[str]:
        """Requests to another host."""
        own = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:")
        return [url for url in self.asked if not url.startswith(own)]

    def accessible(self) -> list[str]:
        """What axe-core finds serious or critical. Of each table it sees three rows: the others
        are alike, and all of them take minutes."""
        self.page.evaluate(
            "document.querySelectorAll('tbody tr:nth-child(n+4)').forEach((row) => row.remove())"
        )
        package = find_spec("axe_playwright_python")
        assert package is not None
        assert package.origin is not None
        source = (Path(package.origin).parent / "axe.min.js").read_text("utf-8")
        self.page.evaluate(source)
        found = self.page.evaluate("axe.run()")
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}"
            for one in found["violations"]
            if one["impact"] in SERIOUS
        ]

    def keep(self, name: str, *, whole: bool = False) -> None:
        KEPT.mkdir(exist_ok=True)
        self.page.screenshot(path=KEPT / f"{name}.png", full_page=whole)


@contextmanager
def window(browser: Any, size: str, scheme: str = "light", **more: Any) -> Iterator[Seen]:
    """A fresh page of a size in a colour scheme; what it says and asks for is kept."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme,
        has_touch=size == "phone", **more,
    )  # fmt: skip
    seen = Seen(context.new_page())
    seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
    seen.page.on("request", lambda request: seen.asked.append(request.url))
    seen.page.on(
        "console",
        lambda line: seen.said.append(line.text) if line.type in ("error", "warning") else None,
    )
    try:
        yield seen
    finally:
        context.close()


each_look = pytest.mark.parametrize(
    ("size", "scheme"), [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
)
