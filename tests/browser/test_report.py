"""The report of the committed results in a real browser, wide and narrow, light and dark."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from harness.html import build
from harness.recipe import find
from harness.report import cells
from tests.browser.conftest import each_look, window

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
RESULTS = Path(__file__).parents[2] / "results"
OPENS, BIGGEST = 2.0, 3_000_000


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(build.report(RESULTS, beside=False), "utf-8")
    return path


def plain(text: str) -> str:
    """A cell's text as a page shows it: without Markdown's marks."""
    text = re.sub(r"(?<!\\)\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\\(.)", r"\1", text.replace("&lt;", "<"))
    return " ".join(text.replace("`", "").split())


NUMBERS = """() => [...document.querySelectorAll("button[data-cell]")].map((one) =>
  [one.dataset.cell, (one.querySelector(".said") ?? one).textContent])"""
BEHIND = """async () => { const data = await content; return Object.fromEntries(
  [...document.querySelectorAll("button[data-cell]")].map((one) => [one.dataset.cell,
  data.sets[data.cells[one.dataset.cell][4]].map((at) => data.files[at][0])])); }"""


@each_look
def test_the_report_reads_everywhere(chromium: Any, report: Path, size: str, scheme: str) -> None:
    with window(chromium, size, scheme) as seen:
        seen.go(report.as_uri())
        # Charts are drawn as they come into sight; on a phone the first is below the verdicts.
        seen.page.evaluate("document.querySelector('.chart').scrollIntoView()")
        seen.page.wait_for_selector(".chart .main-svg", timeout=60_000)
        seen.keep(f"report-{size}-{scheme}")
        for part in ("curves", "tuning", "samples", "audit", "pages", "limits"):
            seen.page.evaluate(f"document.getElementById('{part}').scrollIntoView()")
            seen.page.wait_for_timeout(700)
            seen.keep(f"report-{size}-{scheme}-{part}")
        seen.page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
        seen.page.wait_for_timeout(1500)
        assert seen.overflow() <= 0
        assert seen.accessible() == []
        assert seen.said == []
        assert seen.elsewhere() == []


def test_every_number_is_its_cell_and_leads_to_records_that_exist(
    chromium: Any, report: Path
) -> None:
    index = cells.load(RESULTS)
    assert index is not None
    with window(chromium, "phone") as seen:
        seen.go(report.as_uri())
        shown = seen.page.evaluate(NUMBERS)
        assert len({address for address, _ in shown}) > 1000
        wrong = [
            (address, text, index.cells[address].text)
            for address, text in shown
            if plain(text) != plain(index.cells[address].text)
        ]
        assert wrong == []
        behind = seen.page.evaluate(BEHIND)
        for address, paths in behind.items():
            assert set(paths) == set(index.cells[address].records), address
            assert all((RESULTS / path).is_file() for path in paths)
        seen.page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
        numbers = seen.page.locator("button[data-cell]")
        for place in range(0, numbers.count(), 211):
            number = numbers.nth(place)
            number.tap()
            dialog = seen.page.locator("dialog[open]")
            dialog.wait_for()
            listed = dialog.locator("[data-record]").evaluate_all(
                "all => all.map((one) => one.dataset.record)"
            )
            assert set(listed) == set(behind[number.get_attribute("data-cell")])
            seen.page.keyboard.press("Escape")
        seen.page.locator("ol.verdicts button").nth(2).tap()
        seen.keep("report-phone-light-number")
        assert seen.overflow() <= 0
        assert seen.accessible() == []
        assert seen.said == []


def test_by_the_keyboard_alone(chromium: Any, report: Path) -> None:
    with window(chromium, "desktop") as seen:
        seen.go(report.as_uri())
        page = seen.page
        page.locator("ol.verdicts button").first.focus()
        page.keyboard.press("Enter")
        page.locator("dialog[open]").wait_for()
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.dataset.cell") == "findings/1/answer"
        page.locator("#page-answers, details").first.evaluate("one => { one.open = true; }")
        table = page.locator("table[data-view]").first
        table.locator("button[tabindex='0']").focus()
        before = page.evaluate("document.activeElement.dataset.cell")
        page.keyboard.press("ArrowDown")
        after = page.evaluate("document.activeElement.dataset.cell")
        assert before != after
        page.keyboard.press("Enter")
        page.locator("dialog[open]").wait_for()
        assert page.evaluate("location.hash") != ""


def test_it_is_small_and_opens_at_once(chromium: Any, report: Path) -> None:
    assert report.stat().st_size < BIGGEST
    with window(chromium, "desktop") as seen:
        seen.page.goto("about:blank")
        seen.go(report.as_uri())  # the first start of a browser is not the page's
        began = time.monotonic()
        seen.page.reload()
        seen.page.wait_for_selector("html[data-ready]", state="attached")
        assert time.monotonic() - began < OPENS


@pytest.mark.parametrize("axis", ["tokens", "flops", "seconds"])
def test_curves_follow_the_chosen_axis(chromium: Any, report: Path, axis: str) -> None:
    with window(chromium, "desktop") as seen:
        seen.go(report.as_uri())
        seen.page.evaluate("document.getElementById('curves').scrollIntoView()")
        seen.page.wait_for_selector("#c-chart .main-svg")
        seen.page.select_option("#c-section", "dense_vs_moe.proxy.cpu")
        seen.page.select_option("#c-x", axis)
        seen.page.wait_for_timeout(500)
        title = seen.page.evaluate("document.getElementById('c-chart').layout.xaxis.title.text")
        assert {"tokens": "tokens", "flops": "FLOPs", "seconds": "seconds"}[axis] in title
        ends = seen.page.evaluate(
            "document.getElementById('c-chart').data.filter((t) => t.error_y).length"
        )
        drawn = {f.parts[-2] for f in (RESULTS / "records/dense_vs_moe").glob("*/*.json")}
        arms = drawn & set(find("dense_vs_moe").at("proxy").axes[0].values)
        assert ends == 2 * len(arms)  # a point a horizon
        assert seen.page.locator("#c-x option[value=dollars]").is_disabled()  # on a CPU
        assert seen.said == []
