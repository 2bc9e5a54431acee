"""The report as a file: whole, small, without a network, and safe from what a stranger wrote."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RequestError
from harness.html import build, library
from harness.records import store
from tests.report.factory import campaign

RESULTS = Path(__file__).parents[2] / "results"
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> & [x](javascript:alert(3))"
)


class _Elements(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))


def filled(results: Path, records: list[Any]) -> Path:
    for record in records:
        path = results / store.path_of(record)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(store.to_json(record))
    return results


def packed(text: str, name: str) -> Any:
    found = re.search(rf'id="{name}">([^<]*)</script>', text)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def test_the_committed_results_make_one_small_file_that_needs_nothing_else() -> None:
    text = build.report(RESULTS)
    assert len(text.encode()) < 3_000_000
    for tag, attributes in _Elements(text).all:
        for name in ("src", "href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")), (tag, target)
    data = packed(text, "data")
    index = json.loads((RESULTS / "cells.json").read_text("utf-8"))
    assert set(data["cells"]) == set(index["cells"])
    assert {one[0] for one in data["files"]} == set(index["sources"])
    assert {one["id"] for one in data["curves"]} >= {"dense_vs_moe.proxy.cpu"}
    assert set(packed(text, "charts")) >= {"findings.figure"}
    assert text.index("is better than dense") < text.index('id="curves"')  # verdicts first


def test_a_strangers_words_stay_words(tmp_path: Path) -> None:
    records = campaign(asked={"summary": HOSTILE, "notes": {"dense": HOSTILE}})
    bad = [
        record.model_copy(
            update={"status": "failed", "error": HOSTILE, "ends": (), "validation": ()}
        )
        if (record.arm, record.seed) == ("moe-160m", 2)
        else record
        for record in records
    ]
    text = build.report(filled(tmp_path, bad))
    elements = _Elements(text).all
    assert [tag for tag, _ in elements].count("script") == 4
    assert not [a for _, a in elements if any(name.startswith("on") for name in a)]
    assert not [a for _, a in elements if "javascript:" in (a.get("href") or "")]
    assert "&lt;script&gt;alert(1)" in text
    scripts = re.findall(r"'sha256-[^']+'", unescape(text))
    assert len(scripts) == 2  # ours and the library's: no other may run


def test_no_record_at_all_is_a_page_too(tmp_path: Path) -> None:
    assert "Nothing has been measured" in build.report(tmp_path)


def test_without_the_library_the_request_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(library, "PACKAGE", "no_such_package")
    library.plotly.cache_clear()
    with pytest.raises(RequestError, match="pip install plotly"):
        library.plotly()
    library.plotly.cache_clear()
