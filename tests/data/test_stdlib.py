"""The real standard library: what stands in validation stands nowhere in train."""

import re

import pytest

from harness import presets
from harness.data import build
from harness.data.sources import stdlib
from harness.data.units import LEAK_WORDS, TextUnit, held_out

DATA = presets.run("smoke").data


@pytest.fixture(scope="module")
def documents() -> list[build.Documents]:
    return build.read_documents(DATA, lambda _: None)[0]


def paragraphs(texts: list[str]) -> set[str]:
    found = {" ".join(p.split()) for text in texts for p in re.split(r"\n\s*\n", text)}
    return {p for p in found if len(p.split()) >= LEAK_WORDS}


def test_no_paragraph_of_validation_stands_in_train(documents: list[build.Documents]) -> None:
    train = paragraphs([text for source in documents for text in source.train])
    val = paragraphs([text for source in documents for text in source.val])
    assert len(val) > 1000
    assert not val & train


def test_there_is_enough_of_both(documents: list[build.Documents]) -> None:
    prose, code = documents
    # 2.1 MB of prose and 8 MB of code in CPython 3.11; distributions strip some packages.
    assert sum(map(len, prose.train)) > 1_000_000
    assert sum(map(len, code.train)) > 2_000_000
    assert all(0.02 < len(d.val) / (len(d.val) + len(d.train)) < 0.3 for d in documents)


def test_prose_and_code_of_a_module_are_on_one_side_and_share_no_docstring() -> None:
    prose = {u.name: u for u in stdlib.prose()}
    code = {u.name: u for u in stdlib.code()}
    assert {"stdlib:heapq", "stdlib:json.decoder"} <= set(prose) & set(code)
    assert any(name.startswith("topic:") for name in prose)
    assert not [n for n in code if re.search(r"\b(tests?|idle_test|site-packages)\b", n)]

    def side(unit: TextUnit) -> bool:
        return held_out(DATA.split_seed, unit.name, DATA.val_fraction)

    for name in set(prose) & set(code):
        assert side(prose[name]) == side(code[name])
    first = prose["stdlib:heapq"].text.split("\n\n")[0]
    assert len(first.split()) > 5
    assert first not in code["stdlib:heapq"].text
