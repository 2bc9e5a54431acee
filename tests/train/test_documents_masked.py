"""Document masking: a packed conversation is to the model what it is alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data.arrow import close_dataset, write_split
from harness.data.batches import TrainStream, read_validation
from harness.data.chat import Encoded
from harness.data.packing import pack
from harness.errors import RequestError
from harness.train.update import accumulate
from tests.models.small import DENSE, MOE, build

SEQ = 32
END = 0
LENGTHS = (19, 11, 9, 13, 21, 7)


def conversations() -> list[Encoded]:
    draw = np.random.default_rng(0)
    found = []
    for length in LENGTHS:
        tokens = draw.integers(1, 64, length).astype(np.int32)
        scored = np.zeros(length, dtype=bool)
        scored[length // 2 :] = True
        found.append(Encoded(tokens, scored, (length,)))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six conversations packed in sequences of 32 tokens, as a prepared folder stores them."""
    rows, _ = pack([(0, one) for one in conversations()], SEQ, END)
    for split in ("train", "validation"):
        write_split(tmp_path / "dataset" / split, rows.columns())
    close_dataset(tmp_path / "dataset", ["train", "validation"])
    np.save(tmp_path / "token_bytes.npy", np.ones(64, dtype=np.int32))
    return tmp_path


@pytest.mark.parametrize("base", [DENSE, MOE], ids=["dense", "moe"])
def test_the_logits_of_a_packed_conversation_are_those_of_it_alone(folder, base):
    small = build(base).eval()
    data = read_validation(folder, row_documents=True)
    assert data.row_documents is not None
    with torch.no_grad():
        hidden, _ = small.hidden(
            torch.from_numpy(data.tokens), torch.from_numpy(data.row_documents)
        )
        packed = small.logits(hidden)
        unmasked = small(torch.from_numpy(data.tokens))
    found = apart = 0
    for one in conversations():
        at = [
            (row, start)
            for row in range(len(data.tokens))
            for start in range(SEQ - len(one.tokens) + 1)
            if np.array_equal(data.tokens[row, start : start + len(one.tokens)], one.tokens)
        ]
        ((row, start),) = at
        part = slice(start, start + len(one.tokens))
        with torch.no_grad():
            alone = small(torch.from_numpy(one.tokens.astype(np.int64))[None])[0]
        # fp32: the same sums in another order, over at most 32 keys.
        torch.testing.assert_close(packed[row, part], alone, atol=1e-5, rtol=0)
        found += 1
        apart += start > 0 and not torch.allclose(unmasked[row, part], alone, atol=1e-2)
    assert found == len(LENGTHS)
    assert apart  # without the mask what stands before is seen


def test_an_update_sees_the_borders_and_counts_the_same_targets(folder):
    gradients = []
    for masked in (False, True):
        small = build(DENSE)
        batch = TrainStream(folder, 0, documents=masked).rows(0, 2)
        loss, _ = accumulate(small, batch, 1, torch.device("cpu"))
        gradients.append((loss.item(), (batch.targets >= 0).sum()))
    assert gradients[0][1] == gradients[1][1]
    assert gradients[0][0] != gradients[1][0]


def test_borders_come_from_end_of_document_tokens_where_none_are_stored(tmp_path):
    tokens = np.array([[5, 6, END, 7, 8, 9, END, 4]], dtype=np.int32)
    for split in ("train", "validation"):
        write_split(tmp_path / "dataset" / split, {"input_ids": tokens})
    close_dataset(tmp_path / "dataset", ["train", "validation"])
    with pytest.raises(RequestError, match=r"train\.document_mask must be false"):
        TrainStream(tmp_path, 0, documents=True).rows(0, 1)
    named = '{"added_tokens": [{"id": 0, "content": "<|endoftext|>"}]}'
    (tmp_path / "tokenizer.json").write_text(named)
    documents = TrainStream(tmp_path, 0, documents=True).rows(0, 1).documents
    assert documents is not None
    assert documents.tolist() == [[0, 0, 0, 1, 1, 1, 1, 2]]
