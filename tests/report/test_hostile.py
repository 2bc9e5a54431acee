"""A stranger's results folder, hostile in every text: nothing of it is markup or a control
character in anything that we write or print, and nothing outside of the folder changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.commands import DOOR
from tests.report import hostile
from tests.survive.door import smol, state


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    _, taken = hostile.folder(folder)
    assert {"error", "software.torch", "hardware.cpu"} <= taken
    return folder


def holds_nothing_of_it(text: str, where: str) -> None:
    for mark in hostile.MARKS:
        assert mark not in text.lower(), (where, text[text.lower().index(mark) - 200 :][:400])
    odd = re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert not odd, (where, odd)


def test_what_is_written_and_printed_is_no_markup(place: Path) -> None:
    outside = state(place.parent)
    made = smol("card", at=place)
    assert made.code == 0, made
    cell = next(iter(json.loads((place / "results" / "cells.json").read_bytes())["cells"]))
    asked: list[tuple[str, ...]] = [
        ("card", "--check"), ("records", "check"), ("records", "check", "--json"),
        ("trace", cell), ("trace", cell, "--json"), ("show", "optimizers", "--scale", "proxy"),
        ("compare", "optimizers/adamw", "optimizers/muon", "--scale", "proxy"),
        ("compare", "optimizers/adamw", "optimizers/muon", "--scale", "proxy", "--json"),
    ]  # fmt: skip
    if "report" in DOOR.commands:
        asked += [("report",), ("report", "--out", "results/\u202e\u2066x.html")]
    for one in [made, *(smol(*words, at=place) for words in asked)]:
        assert one.faults() == []
        text = one.out  # of stderr `faults` has seen to control characters; tags are nothing there
        if "--json" in one.words and one.code == 0:
            json.loads(text)  # for programs: what was written, its controls as escapes of JSON
            assert text.isprintable() or not set(text) - set(map(chr, range(32, 127))) - {"\n"}
            continue
        holds_nothing_of_it(text, " ".join(one.words))
    for path in sorted(place.rglob("*")):
        if path.suffix in (".md", ".html"):
            text = path.read_text("utf-8")
            if path.suffix == ".html":  # ours has scripts of its own
                assert "alert(1)</script>" not in text
                assert "onerror=alert(1)>" not in text.replace("&gt;", "")
            else:
                holds_nothing_of_it(text, path.name)
    results = str(place / "results")
    changed = {p for p, now in state(place.parent).items() if outside.get(p) != now}
    assert {p for p in changed if not p.startswith(results)} == set()
