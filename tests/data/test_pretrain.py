"""The pretraining mix: what it holds, and that being cut off at any moment changes nothing."""

from pathlib import Path

import numpy as np
import pytest

from harness.data import pretrain, tokenizer
from harness.data.batches import read_split
from harness.data.manifest import load_folder
from harness.data.sealing import DATA
from harness.data.streams import SourceBatch, Stream
from harness.data.units import held_out
from harness.errors import RequestError
from tests.data.conftest import texts

SEQ = 32
TEXTS = {"north": texts(300, seed=1, mark="north"), "south": ["", *texts(200, seed=2), "  "]}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(tokenizer.fit(TEXTS["north"], 400), folder, SEQ)
    return folder


def build(work: Path, fitted: Path, *, breaks_at: int | None = None, target: int = 12_000):
    """The mix; a source that breaks off when it is asked for its row `breaks_at`."""

    def source(name: str, share: float) -> Stream:
        def batches(start):
            for row in range(start["row"] if start else 0, len(TEXTS[name]), 7):
                if breaks_at is not None and row >= breaks_at:
                    raise RequestError("the line is dead")
                yield SourceBatch({"row": row}, TEXTS[name][row : row + 7])

        return Stream(name, "test", share, name, batches,
                      held_out=lambda text: held_out(0, text, 0.1))  # fmt: skip

    request = pretrain.PretrainRequest(target, SEQ, 0.1, 2000, 0, block_rows=10)
    sources = [source("north", 0.7), source("south", 0.3)]
    work.mkdir(exist_ok=True)
    said: list[str] = []
    pretrain.build(request, sources, fitted, work, said.append, processes=1)
    return load_folder(work / DATA), said


def test_cut_off_at_any_row_it_ends_with_the_same_bytes(tmp_path, fitted):
    whole, _ = build(tmp_path / "whole", fitted)
    whole.check()
    longest = max(len(ids) for many in TEXTS.values() for ids in
                  tokenizer.encode(tokenizer.load(fitted), many))  # fmt: skip
    for use in whole.manifest.sources:
        assert abs(use.train_tokens - use.share * whole.manifest.train_tokens) <= longest
    for row in (35, 77, 105):
        work = tmp_path / f"cut{row}"
        with pytest.raises(RequestError, match="the line is dead"):
            build(work, fitted, breaks_at=row)
        assert (work / "state.npz").is_file()
        _, said = build(work, fitted)
        assert any("going on from" in line for line in said)
        for path in sorted(whole.folder.rglob("*")):
            if path.is_file():
                twin = work / DATA / path.relative_to(whole.folder)
                assert path.read_bytes() == twin.read_bytes(), (row, path.name)


def test_a_source_without_more_ends_the_mix_and_says_so(tmp_path, fitted):
    prepared, said = build(tmp_path / "all", fitted, target=10**9)
    assert any("has no more documents" in line for line in said)
    north, south = prepared.manifest.sources
    assert abs(north.achieved_share - 0.7) < 0.02
    train = read_split(prepared.folder, "train")
    counts = np.bincount(np.concatenate(train.chunks("input_ids")).ravel())
    assert counts[0] <= north.train_documents + south.train_documents


def test_too_little_is_one_line(tmp_path, fitted):
    with pytest.raises(RequestError, match="fewer than one sequence"):
        build(tmp_path / "tiny", fitted, target=20)


def test_a_target_of_less_than_a_sequence_is_named_as_it_was_asked_for(tmp_path, fitted):
    with pytest.raises(RequestError, match=f"^10 training tokens are fewer than one .* of {SEQ}"):
        build(tmp_path / "few", fitted, target=10)
