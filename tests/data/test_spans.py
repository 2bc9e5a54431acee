"""One text is a corpus: spans of it are held out with a gap, and nothing else is lost."""

import itertools
import random
from pathlib import Path

import pytest

from harness.config import DataConfig, Source
from harness.data import sources, tokenizer
from harness.data.batches import read_split
from harness.data.prepare import prepare
from harness.data.sources.tables import FEW, SPAN, of_paths
from harness.errors import RequestError

from .conftest import WORDS, texts, write_jsonl


def _book(folder: Path, size: int, border: str = "\n") -> Path:
    rng = random.Random(size)
    text = ""
    while len(text) < size:
        text += f"{len(text)} " + " ".join(rng.choices(WORDS, k=rng.randint(3, 12))) + border
    path = folder / "book.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("border", ["\n", " "])
def test_both_sides_are_parts_of_the_text_with_a_gap_between(tmp_path: Path, border: str) -> None:
    path = _book(tmp_path, 60_000, border)
    text = path.read_text()
    kind = sources.make(Source(name="b", kind="spans", share=1.0, paths=(str(path),)))
    train, val = kind.split(sources.units(kind), 0, 0.1)
    held, learnt = sum(len(u.text) for u in val), sum(len(u.text) for u in train)
    assert 0.08 < held / len(text) < 0.12
    assert len(val) > 1
    assert learnt > 0.8 * len(text)
    places = sorted(
        (text.index(unit.text), len(unit.text), side)
        for side, units in ((0, train), (1, val))
        for unit in units
    )
    assert [side for *_, side in places] == [0, 1] * len(val) + [0]
    for (start, length, _), (after, *_) in itertools.pairwise(places):
        assert SPAN / 2 < after - (start + length) <= SPAN


def test_few_texts_are_cut_and_many_are_not(tmp_path: Path) -> None:
    few = of_paths([_book(tmp_path, 60_000)])
    assert (few["name"], few["kind"]) == ("book", "spans")
    many = of_paths([write_jsonl(tmp_path / "many.jsonl", texts(FEW, seed=1))])
    assert many["kind"] == "files"
    assert "gap" in sources.note("spans")
    assert not sources.note("files")
    spec = DataConfig(
        sources=(Source(**few),), seq_len=64, vocab_size=400, train_tokens=None, val_fraction=0.1,
        val_tokens=8192, split_seed=0,
    )  # fmt: skip
    prepared = prepare(spec)
    assert prepared.manifest.val_documents > 1
    fitted = tokenizer.load(prepared.folder)
    rows = read_split(prepared.folder, "validation").chunks("input_ids")[0]
    assert fitted.decode(rows[0].tolist()) in (tmp_path / "book.txt").read_text()


def test_too_little_to_hold_out_is_one_line(tmp_path: Path) -> None:
    source = Source(name="b", kind="spans", share=1.0, paths=(str(_book(tmp_path, 900)),))
    kind = sources.make(source)
    with pytest.raises(RequestError, match="characters are too few to hold a part of them out"):
        kind.split(sources.units(kind), 0, 0.1)
