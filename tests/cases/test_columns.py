"""Folders of others: every column is used, known to be harmless, or named in a refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from harness.data import tokenizer
from harness.data.adopted import describe, look, open_folder
from harness.data.batches import IGNORED, read_split
from harness.data.columns import HARMLESS, MASKS
from harness.errors import RequestError
from harness.machine.facts import parse_toml
from harness.records import gates
from tests.data.conftest import texts

ROWS, SEQ, VOCAB = 120, 32, 400
RNG = np.random.default_rng(3)
IDS = RNG.integers(1, VOCAB, (ROWS, SEQ))
LENGTHS = RNG.integers(8, SEQ + 1, ROWS)
REAL = np.arange(SEQ) < LENGTHS[:, None]


def save(folder: Path, **columns: Any) -> Path:
    plain = {name: np.asarray(values).tolist() for name, values in columns.items()}
    Dataset.from_dict(plain).save_to_disk(str(folder))
    return folder


def rows_of(folder: Path) -> list[np.ndarray]:
    """Tokens and targets of both parts, as training sees them."""
    found = []
    prepared = open_folder(folder)
    for name in ("train", "validation"):
        split = read_split(prepared.folder, name)
        batch = split.batch(np.arange(split.rows))
        found += [batch.tokens, batch.targets]
    return [*found, np.array([prepared.manifest.unigram_val_loss])]


def test_padding_of_transformers_is_no_target(tmp_path: Path) -> None:
    """What its tokenizer gives with padding="max_length" is the same with labels of -100 there."""
    import transformers

    documents = texts(200, seed=1)
    fitted = tmp_path / "tokenizer"
    fitted.mkdir()
    tokenizer.save(tokenizer.fit(documents, VOCAB), fitted, SEQ)
    peer = transformers.AutoTokenizer.from_pretrained(fitted)
    given = peer(documents, padding="max_length", truncation=True, max_length=SEQ)
    ids, mask = np.array(given["input_ids"]), np.array(given["attention_mask"])
    ids[::3, -5:], mask[::3, -5:] = peer.pad_token_id, 0
    labels = np.where(mask == 1, ids, IGNORED)
    plain = save(tmp_path / "plain", input_ids=ids, attention_mask=mask)
    told = save(tmp_path / "told", input_ids=ids, attention_mask=mask, labels=labels)
    copied = save(tmp_path / "copied", input_ids=ids, attention_mask=mask, labels=ids)
    for other in (told, copied):
        for a, b in zip(rows_of(plain), rows_of(other), strict=True):
            assert (a == b).all()
    left = save(tmp_path / "left", input_ids=ids, attention_mask=mask[:, ::-1])
    with pytest.raises(RequestError, match="pad on the right"):
        open_folder(left)


@pytest.mark.parametrize("kind", [int, bool])
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_says_what_is_learnt(tmp_path: Path, name: str, kind: type) -> None:
    masked = save(tmp_path / "mask", input_ids=IDS, **{name: REAL.astype(kind)})
    labels = save(tmp_path / "labels", input_ids=IDS, labels=np.where(REAL, IDS, IGNORED))
    for a, b in zip(rows_of(masked), rows_of(labels), strict=True):
        assert (a == b).all()
    preparation = json.loads((open_folder(masked).folder / "preparation.json").read_text())
    assert f"no target where {name} is 0" in describe(preparation)


def test_masks_and_labels_are_all_kept(tmp_path: Path) -> None:
    answer = RNG.random((ROWS, SEQ)) < 0.5
    both = save(
        tmp_path / "both", input_ids=IDS, attention_mask=REAL.astype(int),
        completion_mask=answer.astype(int),
    )  # fmt: skip
    told = save(tmp_path / "told", input_ids=IDS, labels=np.where(REAL & answer, IDS, IGNORED))
    for a, b in zip(rows_of(both), rows_of(told), strict=True):
        assert (a == b).all()


def test_what_is_harmless_changes_nothing(tmp_path: Path) -> None:
    plain = rows_of(save(tmp_path / "plain", input_ids=IDS))
    words = {"text": ["a"] * ROWS, "messages": [[{"role": "user"}]] * ROWS, "none": [None] * ROWS}
    for name, values in {**dict.fromkeys(HARMLESS, [1] * ROWS), **words}.items():
        other = save(tmp_path / name, input_ids=IDS, **{name: values})
        for a, b in zip(plain, rows_of(other), strict=True):
            assert (a == b).all(), name


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("prompt_mask", REAL.astype(int)), ("loss_weights", REAL.astype(float)),
        ("weight", [0.5] * ROWS), ("label", [1] * ROWS),
    ],
)  # fmt: skip
def test_a_column_that_nobody_knows_is_named(tmp_path: Path, name: str, values: Any) -> None:
    with pytest.raises(RequestError, match=f"has a column '{name}', which may say") as caught:
        open_folder(save(tmp_path / "odd", input_ids=IDS, **{name: values}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"input_ids": IDS.astype(float)}, r"whole numbers\), not list<.*double>"),
        ({"input_ids": np.full((ROWS, SEQ), 2**40)}, "token id 1099511627776 .* beyond any"),
        ({"input_ids": IDS[:, :1]}, "sequences have 1 tokens"),
        ({"input_ids": IDS, "loss_mask": np.where(REAL, 1, IGNORED)}, "'loss_mask' holds -100"),
        ({"input_ids": IDS, "completion_mask": REAL * 2}, "'completion_mask' holds 2"),
    ],
)
def test_numbers_that_cannot_be_meant_are_named(
    tmp_path: Path, columns: dict[str, Any], line: str
) -> None:
    with pytest.raises(RequestError, match=line):
        open_folder(save(tmp_path / "odd", **columns))


def test_packed_documents_counted_in_a_mask_are_targets(tmp_path: Path) -> None:
    """Attention's mask may number the documents of a row from 1."""
    counted = save(tmp_path / "counted", input_ids=IDS, attention_mask=REAL * (1 + IDS[:, :1] % 3))
    plain = save(tmp_path / "plain", input_ids=IDS, attention_mask=REAL.astype(int))
    for a, b in zip(rows_of(counted), rows_of(plain), strict=True):
        assert (a == b).all()


def test_parts_say_alike_what_is_learnt_and_others_are_named(tmp_path: Path) -> None:
    plain = Dataset.from_dict({"input_ids": IDS.tolist()})
    told = Dataset.from_dict({"input_ids": IDS.tolist(), "labels": IDS.tolist()})
    for number, pair in enumerate(((plain, told), (told, plain))):
        both = tmp_path / f"{number}"
        DatasetDict(dict(zip(("train", "dev"), pair, strict=True))).save_to_disk(str(both))
        with pytest.raises(RequestError, match=r"has a column 'labels', and .* has not"):
            open_folder(both)
    DatasetDict({"train": plain, "dev": plain, "more": plain}).save_to_disk(str(tmp_path / "all"))
    said: list[str] = []
    held = open_folder(tmp_path / "all", progress=said.append).manifest.val_rows
    assert held == ROWS
    assert any(line.endswith("passed over: more") for line in said)


def test_targets_that_are_one_token_are_named() -> None:
    plain = np.where(REAL, IDS, IGNORED)
    assert gates.odd_targets(plain) is None
    assert "are token 0: padding" in str(gates.odd_targets(np.where(REAL, IDS, 0)[:, 8:]))
    assert gates.initial_loss(7.71, 8.82) is not None
    assert gates.initial_loss(8.75, 8.82) is None
    assert gates.initial_loss(float("nan"), 8.82) is not None


def test_a_dry_run_looks_at_the_data(tmp_path: Path) -> None:
    look(save(tmp_path / "good", input_ids=IDS, attention_mask=REAL.astype(int)))
    with pytest.raises(RequestError, match="has a column 'weight'"):
        look(save(tmp_path / "odd", input_ids=IDS, weight=[0.5] * ROWS))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "train.bin").write_bytes(b"\x00")
    with pytest.raises(RequestError, match=r"bin' has no manifest\.json"):
        look(tmp_path / "bin")


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    for mark in ("", "\ufeff"):
        (tmp_path / "a.toml").write_text(mark + "format = 1\r\n", encoding="utf-8")
        assert parse_toml(tmp_path / "a.toml") == {"format": 1}
