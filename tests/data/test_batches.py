import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from harness.config import DataConfig
from harness.data.batches import IGNORED, TrainStream, read_split, read_validation
from harness.data.prepare import prepare
from harness.errors import RequestError

Spec = Callable[..., DataConfig]


def save(folder: Path, **columns: list[list[int]]) -> Path:
    DatasetDict(
        {name: Dataset.from_dict(dict(columns)) for name in ("train", "validation")}
    ).save_to_disk(str(folder))
    return folder


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """2,500 rows of 4 tokens, row r being r * 4 ... r * 4 + 3: more than one record batch."""
    return save(tmp_path / "numbered", input_ids=np.arange(10_000).reshape(-1, 4).tolist())


def test_the_stream_is_one_whatever_the_update(numbered: Path) -> None:
    whole = TrainStream(numbered, 7).rows(0, 6000).tokens
    for sequences in (1, 7, 32, 2500, 3000):
        stream = TrainStream(numbered, 7)
        parts = [stream.rows(u * sequences, sequences) for u in range(6000 // sequences)]
        got = np.concatenate([part.tokens for part in parts])
        assert (got == whole[: len(got)]).all()
    # Positions may be asked for in any order: a resumed run starts in the middle.
    stream = TrainStream(numbered, 7)
    assert (stream.rows(5000, 10).tokens == whole[5000:5010]).all()
    assert (stream.rows(3, 10).tokens == whole[3:13]).all()
    assert not (TrainStream(numbered, 8).rows(0, 100).tokens == whole[:100]).all()


def test_each_epoch_is_a_permutation_of_its_own(numbered: Path) -> None:
    stream = TrainStream(numbered, 0)
    assert (stream.row_count, stream.seq_len) == (2500, 4)
    epochs = [stream.positions(e * 2500, 2500) for e in range(3)]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(2500))
    assert not (epochs[0] == epochs[1]).all()
    assert not (epochs[0] == np.arange(2500)).all()
    assert stream.epochs(3750) == 1.5
    # Written down: the order must not move with numpy's version.
    assert epochs[0][:5].tolist() == [1153, 1836, 1439, 652, 293]


def test_tokens_and_targets(numbered: Path) -> None:
    batch = TrainStream(numbered, 0).rows(0, 50)
    assert batch.tokens.dtype == batch.targets.dtype == np.int64
    assert (batch.tokens == batch.tokens[:, :1] + np.arange(4)).all()
    assert (batch.targets[:, :-1] == batch.tokens[:, 1:]).all()
    assert (batch.targets[:, -1] == IGNORED).all()


def test_labels_as_plain_lists(tmp_path: Path) -> None:
    """The form in which another trainer leaves its data: lists of ids and labels, -100 masked."""
    tokens = [[5, 6, 7, 8], [9, 10, 11, 12]]
    labels = [[-100, -100, 7, 8], [-100, 10, 11, -100]]
    folder = save(tmp_path / "sft", input_ids=tokens, labels=labels)
    np.save(folder / "token_bytes.npy", np.ones(13, dtype=np.int32))
    stream = TrainStream(folder, 0)
    batch = stream.rows(0, 2)
    by_first = {
        int(row[0]): target.tolist()
        for row, target in zip(batch.tokens, batch.targets, strict=True)
    }
    assert by_first == {5: [-100, 7, 8, -100], 9: [10, 11, -100, -100]}
    validation = read_validation(folder)
    assert validation.targets.tolist() == [[-100, 7, 8, -100], [10, 11, -100, -100]]
    assert validation.documents.tolist() == [[0] * 4, [1] * 4]


def test_validation_of_a_prepared_folder(spec: Spec) -> None:
    prepared = prepare(spec())
    said = prepared.manifest
    got = read_validation(prepared.folder)
    assert got.tokens.shape == got.targets.shape == got.documents.shape
    assert (got.targets >= 0).sum() == said.val_scored_tokens
    scored = got.targets[got.targets >= 0]
    assert got.token_bytes[scored].sum() == said.val_scored_bytes
    assert got.documents.max() + 1 == said.val_documents
    parts = list(got.batches(5))
    assert (np.concatenate([p.tokens for p in parts]) == got.tokens).all()
    assert len(parts[0].tokens) == 5


def test_fast_enough_to_forget(tmp_path: Path) -> None:
    rows = np.arange(20_000 * 128, dtype=np.int64).reshape(-1, 128) % 4096
    dataset = Dataset.from_dict({"input_ids": rows.tolist()})
    DatasetDict({"train": dataset}).save_to_disk(str(tmp_path / "big"))
    start = time.perf_counter()
    stream = TrainStream(tmp_path / "big", 0)
    stream.rows(0, 32)
    opened = time.perf_counter() - start
    times = []
    for update in range(1, 50):
        start = time.perf_counter()
        stream.rows(update * 32, 32)
        times.append(time.perf_counter() - start)
    # Measured 0.02 s and 0.1 ms; the limits are what an update can spare.
    assert opened < 0.3
    assert np.median(times) < 1e-3


def test_what_cannot_be_read_is_one_line(tmp_path: Path, numbered: Path) -> None:
    def refused(folder: Path, expected: str) -> None:
        with pytest.raises(RequestError, match=expected) as error:
            TrainStream(folder, 0)
        assert "\n" not in str(error.value)

    refused(tmp_path / "absent", "has no split 'train'")
    refused(save(tmp_path / "uneven", input_ids=[[1, 2], [3]]), "have between 1 and 2 tokens")
    refused(save(tmp_path / "other", tokens=[[1, 2]]), "no column 'input_ids'")
    refused(save(tmp_path / "flat", input_ids=[1, 2]), "must hold lists of token ids")
    refused(save(tmp_path / "text", input_ids=[["a"]]), "must hold lists of token ids")
    with pytest.raises(RequestError, match="has no column 'documents'"):
        read_split(numbered, "validation").chunks("documents")
    data = next((numbered / "train").glob("*.arrow"))
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    refused(numbered, "not a readable `datasets` split")
    data.unlink()
    refused(numbered, "not a readable `datasets` split")
