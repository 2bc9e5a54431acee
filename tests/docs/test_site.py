"""The site: built without a warning, whole, and with nothing that comes from elsewhere."""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import harness
from harness.code.provenance import ROOT
from harness.commands import DOOR, Command

pytestmark = pytest.mark.docs


class Links(HTMLParser):
    """What a page asks for, where it leads to, and what can be led to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.leads.append(given["href"])
        elif "src" in given or (tag == "link" and given.get("rel") != "canonical"):
            self.loads.append(given.get("src") or given.get("href", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {page: Links(page) for page in site.rglob("*.html")}


def public() -> list[str]:
    """Modules at the root, and what is defined there without an underscore, as Python sees it."""
    found = []
    for file in Path(harness.__file__).parent.glob("*.py"):
        if file.stem in ("__init__", "__main__", "cli"):
            continue
        module = importlib.import_module(f"harness.{file.stem}")
        found.append(module.__name__)
        assigned = {
            target.id
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Assign) and node.col_offset == 0
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if not name.startswith("_") and not inspect.ismodule(value) and (
                (own and hasattr(value, "__qualname__")) or name in assigned
            ):  # fmt: skip
                found.append(f"{module.__name__}.{name}")
    return found


def test_every_public_name_has_its_page(pages: dict[Path, Links]) -> None:
    by_title = {
        found: page
        for page, links in pages.items()
        if page.parent.name == "names" and page.stem != "index"
        for found in links.ids
    }
    names = public()
    assert len(names) > 60
    assert {"harness.recipe.Axis", "harness.config.RunConfig", "harness.seeds"} <= set(names)
    assert [name for name in names if name not in by_title] == []
    places = [by_title[name].name.lower() for name in names]
    assert len(set(places)) == len(places)  # also where a file system knows no capitals


def test_every_command_has_its_page_that_says_what_help_says(site: Path) -> None:
    def words(group, before=()):  # type: ignore[no-untyped-def]
        for name, one in group.commands.items():
            if isinstance(one, Command):
                yield (*before, name), one
            else:
                yield from words(one, (*before, name))

    for named, command in words(DOOR):
        text = (site / "commands" / f"{'-'.join(named)}.html").read_text("utf-8")
        assert command.summary in html.unescape(re.sub(r"<[^>]*>", "", text))
        help_ = subprocess.run(
            [sys.executable, "-m", "harness", *named, "--help"],
            cwd=ROOT, env={**os.environ, "COLUMNS": "300"}, capture_output=True, text=True,
            check=True,
        ).stdout if named in (("run",), ("data", "prepare", "sft")) else ""  # fmt: skip
        for option in re.findall(r"^ +(--[a-z-]+)", help_, re.M):
            assert option == "--help" or f"<code>{option}" in text


def test_nothing_comes_from_elsewhere(site: Path, pages: dict[Path, Links]) -> None:
    assert {
        (page.name, one)
        for page, links in pages.items()
        for one in links.loads
        if urlsplit(one).netloc
    } == set()
    for sheet in site.rglob("*.css"):
        text = sheet.read_text("utf-8")
        assert re.findall(r"@import|url\(['\"]?(?:https?:)?//", text) == []


def test_every_link_leads_somewhere(pages: dict[Path, Links]) -> None:
    lost = set()
    for page, links in pages.items():
        for link in links.leads + links.loads:
            parts = urlsplit(link)
            if parts.scheme or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            known = pages[target].ids if target in pages else {anchor}
            if not target.exists() or (anchor and anchor not in known):
                lost.add((page.name, link))
    assert lost == set()


def test_the_picture_of_a_verdict_is_what_the_command_prints() -> None:
    words = ("compare", "dense_vs_moe/dense", "dense_vs_moe/moe-active", "--scale", "proxy")
    said = subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=ROOT, env={**os.environ, "COLUMNS": "80"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    image = (ROOT / "docs" / "images" / "compare.svg").read_text("utf-8")
    drawn = " ".join(
        html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", image, flags=re.S)).split()
    )
    again = f"python docs/screen.py docs/images/compare.svg smol {' '.join(words)}"
    assert " ".join(said.split()) in drawn, again
