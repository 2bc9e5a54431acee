"""Evaluations as files: whole or not at all, and refused where they contradict themselves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.errors import RequestError
from harness.records import evaluation
from tests.report.scored import scored


def test_written_and_read_back(tmp_path: Path) -> None:
    one, other = scored("a", kind="run", digest="0123"), scored("b", nats=90.0)
    assert evaluation.read_all(tmp_path) == []
    path = evaluation.write(tmp_path, one)
    evaluation.write(tmp_path, other)
    assert path.relative_to(tmp_path).as_posix() == "evaluations/prose.000011112222/0123.64.json"
    assert evaluation.read_all(tmp_path) == [one, other]


def test_a_newer_one_replaces_it(tmp_path: Path) -> None:
    evaluation.write(tmp_path, scored("a"))
    newer = scored("a", nats=50.0)
    evaluation.write(tmp_path, newer)
    assert evaluation.read_all(tmp_path) == [newer]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bits_per_byte": 1.0}, "not nats / ln 2 / bytes"),
        ({"document_nats": (1.0, 2.0)}, "do not sum"),
        ({"document_bytes": (60, 41)}, "do not sum"),
        ({"documents": 3}, "not one value a document"),
        ({"tokens": 0}, "of nothing"),
        ({"nats": math.nan}, "nats"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        evaluation.write(tmp_path, scored("a").model_copy(update=changes))
    assert not list(tmp_path.rglob("*.json"))


def test_foreign_moved_and_broken_files_are_named(tmp_path: Path) -> None:
    path = evaluation.write(tmp_path, scored("a"))
    moved = path.with_name("other.64.json")
    path.rename(moved)
    with pytest.raises(RequestError, match=r"other\.64\.json says of itself"):
        evaluation.read_all(tmp_path)
    moved.write_text("{")
    with pytest.raises(RequestError, match=r"other\.64\.json is not a valid evaluation"):
        evaluation.read_all(tmp_path)
    moved.write_text('{"schema_version": 2}')
    with pytest.raises(RequestError, match="not a valid evaluation"):
        evaluation.read_all(tmp_path)
