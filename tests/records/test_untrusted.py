"""What somebody else may have put into a results folder: read safely, or refused in one line."""

from __future__ import annotations

import json
import os
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from harness.errors import RequestError
from harness.files import read_regular
from harness.machine.prices import prices
from harness.records import bench, evaluation, store
from harness.records.schema import Command
from harness.records.untrusted import json_without_controls, without_controls
from harness.report import cells
from tests.records.test_store import ONE

SPOILT = "\x1b[2Jred\u202etext\x85 stays:\n\ttab é 漢"


def test_control_characters_are_dropped_however_they_are_written(tmp_path: Path) -> None:
    noted = ONE.model_copy(update={"status": "failed", "error": SPOILT})
    path = store.write(tmp_path, noted)
    for escaped in (False, True):
        content = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(content, ensure_ascii=escaped), "utf-8")
        (read,) = store.read_all(tmp_path)
        assert read.error == "[2Jredtext stays:\n\ttab é 漢"
    clean = path.read_bytes().replace(b"x", b"y")
    assert json_without_controls(b'{"a": "\\n"}') == b'{"a": "\\n"}'
    assert json_without_controls(b"\xff{") == b"\xff{"
    assert json.loads(json_without_controls(clean))["seed"] == ONE.seed


@pytest.mark.parametrize("depth", [50, 400, 900, 5_000, 300_000])
def test_no_depth_of_a_text_lets_a_control_character_through(depth: int) -> None:
    text = b"[" * depth + rb'"\u001b[2J"' + b"]" * depth
    try:
        found = json.loads(json_without_controls(text))
    except (ValueError, RecursionError):
        assert depth > 50
        return  # refused by whoever parses it
    while isinstance(found, list):
        (found,) = found
    assert found == "[2J"


@pytest.mark.parametrize("name", ["cells.json", "bench/x.json", "evaluations/a/b.1.json"])
@pytest.mark.parametrize("kind", ["pipe", "sparse"])
def test_what_has_no_end_is_not_read(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        os.truncate(path, 10**12)
    began = time.monotonic()
    with pytest.raises(RequestError, match=r"read: it (is no regular|has 1,000,000\.0 MB)"):
        {"c": cells.load, "b": bench.read_all, "e": evaluation.read_all}[name[0]](tmp_path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = " + "[" * 50_000 + "]" * 50_000, "nested too deeply"),
        ("a = " + "9" * 10_000, "is not TOML"),
        (".".join(["a"] * 20_000) + " = 1", "over 50 dotted parts"),
        ("a" * 900_000, "is not TOML"),
        ("#" * 1_100_000, "and such a file at most 1"),
    ],
)
def test_facts_that_would_take_all_memory_are_one_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / "prices.toml").write_text(text)
    began = time.monotonic()
    with pytest.raises(RequestError, match=why):
        prices(tmp_path)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_below_the_records_are_refused(tmp_path: Path, kind: str) -> None:
    path = store.write(tmp_path / "elsewhere", ONE)
    place = tmp_path / "results" / path.relative_to(tmp_path / "elsewhere")
    linked, target = (place, path) if kind == "file" else (place.parent, path.parent)
    linked.parent.mkdir(parents=True)
    linked.symlink_to(target)
    with pytest.raises(RequestError, match=f"{linked} is a link"):
        store.read_all(tmp_path / "results")


@pytest.mark.parametrize(
    "text",
    [
        "smol run tiny; curl x | sh", "smol run $(id)", "smol run `id`", "smol run 'a`b'",
        "rm -rf x", "smol run a\nid", "smol run \x1b[2J", "smol run 'open", "smol run a  b", "",
        "smol run a&b",
    ],
)  # fmt: skip
def test_only_one_smol_command_can_be_printed(text: str) -> None:
    with pytest.raises(ValidationError, match="not a single `smol` command"):
        TypeAdapter(Command).validate_python(text)
    whole = "smol run tiny --set 'x=a; b' --from 'my model'"
    assert TypeAdapter(Command).validate_python(whole) == whole


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert read_regular(path, 10) == b"x" * 10
    with pytest.raises(OSError, match="at most 0"):
        read_regular(path, 9)


@pytest.mark.parametrize("kept", ["", "\n\t", "\n\t\r"])
def test_of_every_character_of_unicode_controls_alone_are_taken(kept: str) -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    left = set(without_controls(every, kept))
    gone = (
        {c for c in every if unicodedata.category(c) == "Cc"}
        | {
            c
            for c in every
            if unicodedata.bidirectional(c)
            in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
        }
        | set("\u061c\u200e\u200f")
    )  # the three marks have the letters' own direction
    assert set(every) - left == gone - set(kept)


@pytest.mark.parametrize(
    "row", [{"ratio_low": 3.0}, {"ratio_high": -1.0}, {"ratio_to_base": 0.0}, {"ratio_high": 1.0}]
)
def test_a_ratio_outside_its_bounds_is_refused_before_it_is_drawn(row: dict[str, float]) -> None:
    good = {
        "group": "g", "name": "n", "median_seconds": 1.0, "iqr_seconds": 0.1, "rounds": 3,
        "ratio_to_base": 2.0, "ratio_low": 1.5, "ratio_high": 2.5, "base": "b",
    }  # fmt: skip
    bench.BenchRow.model_validate(good)
    with pytest.raises(ValidationError, match="within its bounds"):
        bench.BenchRow.model_validate(good | row)
