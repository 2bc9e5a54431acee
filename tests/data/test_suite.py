"""Items of a wheel: put together, chosen, refused."""

from __future__ import annotations

import pytest

from harness.data import cloze, suite
from harness.errors import RequestError
from tests.data.suite_wheel import put, request, variants


def quiet(line: str) -> None:
    raise AssertionError(line)  # what is in the cache is not fetched


def test_answers_are_put_together_by_their_questions(monkeypatch):
    content = variants()
    put(monkeypatch, {name: lines[::-1] for name, lines in content.items()})  # in any order
    ranked, begun, right = suite.read(list(content), None, quiet)
    assert [len(task.items) for task in (ranked, begun, right)] == [12, 12, 12]
    item = next(item for item in ranked.items if item.name == "1")
    asked = "Question: What does statement 1 bind?\nAnswer:"
    assert item.choices == ((asked, " class"), (asked, " name"), (asked, " object that is bound"))
    assert item.answer == " name"
    assert ranked.chance == pytest.approx(1 / 3)
    assert not right.ranked
    assert right.chance is None
    assert right.items[0].answer == "    return x + 11\n"


def test_a_limit_takes_items_from_all_over_and_early_stands_for_its_own(monkeypatch):
    local = [{"context": "a", "choices": ["b", str(i)], "answer": 0} for i in range(30)]
    monkeypatch.setattr(cloze, "items", lambda: local)
    monkeypatch.setattr(suite, "_cloze", suite._cloze.__wrapped__)
    lines = [request(i, k, "a", f" {k}", 0) for i in range(100) for k in range(2)]
    put(monkeypatch, {name: lines for name in suite.EARLY_TASKS if name != cloze.NAME})
    tasks = suite.read([suite.EARLY, "arc_easy/rc_0shot"], 10, quiet)
    assert [task.name for task in tasks] == list(suite.EARLY_TASKS)
    assert [item.name for item in tasks[1].items] == [str(i) for i in range(0, 100, 10)]
    assert len(tasks[0].items) == 10
    assert len({task.digest for task in tasks}) == 2  # the same items, but for the local task
    (whole,) = suite.read(["arc_easy/rc_0shot"], 1000, quiet)
    assert whole.digest != tasks[1].digest


def test_a_name_that_is_not_there_and_a_wheel_that_is_not_read_are_one_line(monkeypatch):
    put(monkeypatch, variants())
    with pytest.raises(RequestError, match="did you mean 'ask/rc_0shot'"):
        suite.read(["ask/rc_0shots"], None, quiet)
    for wrong in (
        b"no gzip",
        [request(0, 0, "a", " b", 0)] * 2,  # an answer twice
        [request(0, 1, "a", " b", 0)],  # without its first
        [request(0, 0, "a", " b", 1)],  # the right one is not there
        [request(0, 0, "a", "", 0)],
        [{"doc_id": 0}],
    ):
        put(monkeypatch, wrong if isinstance(wrong, bytes) else {"a/b": wrong})
        with pytest.raises(RequestError, match="a/b cannot be read"):
            suite.read(["a/b"], None, quiet)
