"""`smol run RECIPE --data DIR` with a folder that others prepared, as it lies on disk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from datasets import Dataset

from tests.e2e.conftest import Workspace

QUICK = ["run", "tiny_rates", "--seeds", "1", "--set", "train.tokens=768", "--data"]


def saved(folder: Path, name: str, seq_len: int, vocabulary: int = 512) -> str:
    """As the seed's preparation leaves it: plain lists, labels a copy, nothing else."""
    rng = np.random.default_rng(0)
    ids = rng.zipf(1.3, (120, seq_len)).clip(max=vocabulary) - 1
    rows = ids.tolist()
    Dataset.from_dict({"input_ids": rows, "labels": rows}).save_to_disk(str(folder / name))
    return name


def test_a_folder_prepared_elsewhere_trains_as_it_is(workspace: Workspace) -> None:
    name = saved(workspace.folder, "pretrain_mix", 32)
    said = workspace.smol(*QUICK, name)
    assert "prepared by others" in said
    assert "validation is 2 of its rows" in said
    records = workspace.records()
    assert {record.status for record in records} == {"ok"}
    ended = [record for record in records if record.ends]
    assert {record.arm for record in ended} == {"low", "high"}
    for record in ended:
        assert record.data is not None
        assert record.data.mix == {name: 1.0}
        assert record.data.tokenizer_digest == "unknown"
        assert record.ends[0].bits_per_byte is None
        assert record.ends[0].val_loss < math.log(512)  # that of a model that knows nothing
    card = (workspace.results / "MODEL_CARD.md").read_text()
    assert "bytes unknown (no tokenizer)" in card
    workspace.smol("card", "--check", "--results", str(workspace.results))
    assert "nothing to do" in workspace.smol(*QUICK, name)


def test_data_that_does_not_fit_is_one_line(workspace: Workspace) -> None:
    longer = saved(workspace.folder, "longer", 64)
    said = workspace.smol(*QUICK, longer, code=2)
    assert "longer holds sequences of 64 tokens; the recipe trains on data.seq_len=32" in said
    larger = saved(workspace.folder, "larger", 32, vocabulary=600)
    said = workspace.smol(*QUICK, larger, code=2)
    assert "a vocabulary of 600 tokens, and the model one of 512" in said
    assert "--tokenizer goes with --data" in workspace.smol(
        "run", "tiny_rates", "--tokenizer", "smollm2", code=2
    )
    assert not workspace.records()
    assert not (workspace.folder / "checkpoints").exists()


def test_padding_that_nothing_marks_ends_after_the_first_update(workspace: Workspace) -> None:
    ids = np.zeros((120, 32), dtype=np.int64)
    ids[:, :2] = np.random.default_rng(0).integers(1, 512, (120, 2))
    Dataset.from_dict({"input_ids": ids.tolist()}).save_to_disk(str(workspace.folder / "padded"))
    workspace.smol(*QUICK, "padded", code=3)
    for record in workspace.records():
        assert (record.status, record.updates_done) == ("failed", 1)
        assert "implied by the initialisation; 9" in str(record.error)
        assert "targets are token 0: padding needs an attention_mask" in str(record.error)
