"""Folders that others prepared: `datasets` saved them, ids and labels are plain lists."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict

from harness.data import tokenizer
from harness.data.adopted import open_folder
from harness.data.adopting import hold_out
from harness.data.batches import IGNORED, TrainStream, read_split, read_validation
from harness.data.manifest import UNKNOWN, load_folder
from harness.errors import RequestError
from tests.data.conftest import texts

SEQ, ROWS, VOCAB = 32, 200, 400
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, VOCAB, (ROWS, SEQ))


def seeds_way(folder: Path, ids: np.ndarray = IDS, labels: np.ndarray | None = None) -> Path:
    """One `Dataset`, two columns of plain lists, no format set, saved to disk."""
    columns = {"input_ids": ids.tolist(), "labels": (ids if labels is None else labels).tolist()}
    Dataset.from_dict(columns).save_to_disk(str(folder))
    return folder


def untouched(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_plain_lists_become_tensors(tmp_path):
    """The saved columns are lists of Python integers; the model gets int64 tensors of them."""
    folder = seeds_way(tmp_path / "mix")
    assert "List" in str(Dataset.load_from_disk(str(folder)).features["input_ids"])
    before = untouched(folder)
    prepared = open_folder(folder)
    prepared.check()
    assert untouched(folder) == before
    train, val = hold_out(ROWS, SEQ)
    stream = TrainStream(prepared.folder, data_seed=0)
    batch = stream.rows(0, len(train))
    tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
    assert tokens.dtype == targets.dtype == torch.int64
    assert tokens.shape == targets.shape == (len(train), SEQ)
    order = stream.positions(0, len(train))
    assert torch.equal(tokens, torch.tensor(IDS[train][order]))
    assert torch.equal(targets[:, :-1], tokens[:, 1:])
    assert (targets[:, -1] == IGNORED).all()
    held = read_validation(prepared.folder)
    assert (held.tokens == IDS[val]).all()
    said = prepared.manifest
    assert said.tokenizer_digest == UNKNOWN
    assert said.unigram_bits_per_byte is None
    assert said.labels_digest is None  # every token is a target: no column is needed
    assert said.vocab_size == VOCAB
    assert said.train_tokens == len(train) * SEQ
    assert said.val_scored_tokens == len(val) * (SEQ - 1)
    assert 0 < said.unigram_val_loss < 1.1 * np.log(VOCAB)
    how = json.loads((prepared.folder / "preparation.json").read_text())["validation"]
    assert f"{len(val)} of its rows" in how
    assert open_folder(folder).folder == prepared.folder  # found again, not built again


def test_masked_labels_stay_masked_and_rows_without_targets_go(tmp_path):
    labels = IDS.copy()
    labels[:, : SEQ // 2] = IGNORED
    labels[3] = IGNORED
    prepared = open_folder(seeds_way(tmp_path / "sft", labels=labels))
    prepared.check()
    train, _ = hold_out(ROWS, SEQ)
    split = read_split(prepared.folder, "train")
    assert split.rows == len(train) - 1
    targets = split.batch(np.arange(split.rows)).targets
    assert (targets[:, : SEQ // 2 - 1] == IGNORED).all()
    assert (targets[:, SEQ // 2 - 1 : -1] != IGNORED).all()
    assert prepared.manifest.labels_digest is not None
    path = prepared.folder / "dataset" / "train" / "data-00000.arrow"
    data = bytearray(path.read_bytes())
    at = bytes(data).index(labels[0].astype("<i4").tobytes())
    data[at + 4 * SEQ - 4] ^= 1  # the last label of a row; the sizes stay
    path.write_bytes(data)
    with pytest.raises(RequestError, match="the labels are not the manifest's"):
        load_folder(prepared.folder).check()


def test_a_validation_part_is_taken_as_it_is(tmp_path):
    parts = {"train": IDS[:150], "test": IDS[150:]}
    DatasetDict(
        {name: Dataset.from_dict({"input_ids": ids.tolist()}) for name, ids in parts.items()}
    ).save_to_disk(str(tmp_path / "both"))
    prepared = open_folder(tmp_path / "both")
    assert (read_validation(prepared.folder).tokens == IDS[150:]).all()
    assert prepared.manifest.train_rows == 150
    how = json.loads((prepared.folder / "preparation.json").read_text())["validation"]
    assert how == "validation is its split 'test'"


def test_a_tokenizer_that_is_named_gives_bytes(tmp_path):
    fitted = tokenizer.fit(texts(300, seed=1), VOCAB)
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(fitted, tmp_path / "tokenizer", SEQ)
    stream = np.concatenate(list(tokenizer.encode(fitted, texts(300, seed=1))))
    ids = stream[: len(stream) // SEQ * SEQ].reshape(-1, SEQ)
    folder = seeds_way(tmp_path / "mix", ids)
    prepared = open_folder(folder, tokenizer=str(tmp_path / "tokenizer"))
    sizes = tokenizer.token_bytes(fitted)
    _, val = hold_out(len(ids), SEQ)
    assert prepared.manifest.val_scored_bytes == sizes[ids[val][:, 1:]].sum()
    assert prepared.manifest.unigram_bits_per_byte > 0
    assert prepared.folder != open_folder(folder).folder
    other = tmp_path / "other"
    other.mkdir()
    tokenizer.save(tokenizer.fit(texts(300, seed=2), VOCAB), other, SEQ)
    with pytest.raises(RequestError, match="with another tokenizer than"):
        open_folder(prepared.folder, tokenizer=str(other))
    big = seeds_way(tmp_path / "big", ids + 5)
    with pytest.raises(RequestError, match=f"its tokenizer only {len(sizes)} tokens"):
        open_folder(big, tokenizer=str(tmp_path / "tokenizer"))


@pytest.mark.parametrize("rows", [4, 10, 488, 5000, 60_000])
def test_what_is_held_out_touches_nothing_that_is_trained_on(rows):
    train, val = hold_out(rows, 2048)
    assert not set(val.tolist()) & set(train.tolist())
    near = {int(row) + step for row in val for step in (-1, 1)}
    assert not near & set(train.tolist())
    assert len(val) == max(1, min(round(0.02 * rows), 512))
    assert rows - len(train) - len(val) <= 32


@pytest.mark.parametrize(
    ("ids", "labels", "words"),
    [
        (IDS[:3], None, "3 rows are too few to hold one out"),
        (IDS, np.roll(IDS, -1, axis=1), "shifted by one token already"),
        (IDS, (IDS + 1) % VOCAB, "a label is its token, or -100"),
        (IDS, np.full_like(IDS, IGNORED), "no training row with a target"),
        (IDS - 1, None, "negative token ids"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(tmp_path, ids, labels, words):
    folder = seeds_way(tmp_path / "bad", ids, labels)
    before = untouched(folder)
    with pytest.raises(RequestError, match=words) as caught:
        open_folder(folder)
    assert "\n" not in str(caught.value)
    assert untouched(folder) == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"splits": ["train"]}', "names a split 'train', whose folder is missing"),
        ('{"splits": null}', "does not list its splits"),
        ("[]", "cannot be read"),
    ],
)
def test_a_listing_of_splits_that_is_wrong_is_one_line(tmp_path, content, words):
    (tmp_path / "dataset_dict.json").write_text(content)
    with pytest.raises(RequestError, match=words):
        open_folder(tmp_path)


def test_rows_of_several_lengths_are_one_line(tmp_path):
    Dataset.from_dict({"input_ids": [[1, 2, 3], [1, 2]] * 20}).save_to_disk(str(tmp_path / "a"))
    with pytest.raises(RequestError, match="between 2 and 3 tokens"):
        open_folder(tmp_path / "a")
    Dataset.from_dict({"text": ["a"] * 20}).save_to_disk(str(tmp_path / "b"))
    with pytest.raises(RequestError, match="no column 'input_ids'"):
        open_folder(tmp_path / "b")
