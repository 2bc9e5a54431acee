"""Arms that pack the same text in sequences of other lengths see the same documents."""

from __future__ import annotations

from collections.abc import Callable

import datasets
import numpy as np

from harness.config import DataConfig
from harness.data import arrow
from harness.data.batches import read_split
from harness.data.manifest import Prepared
from harness.data.prepare import prepare


def stream(prepared: Prepared, split: str) -> np.ndarray:
    """(tokens,) the split's rows, one after the other."""
    found = read_split(prepared.folder, split)
    return found.take("input_ids", np.arange(found.rows)).ravel()


def test_split_order_and_tokenizer_do_not_depend_on_the_sequences_length(
    spec: Callable[..., DataConfig],
) -> None:
    long, short = prepare(spec(seq_len=32)), prepare(spec(seq_len=16))
    assert long.manifest.tokenizer_digest == short.manifest.tokenizer_digest
    assert long.manifest.digest != short.manifest.digest
    for split in ("train", "validation"):
        a, b = stream(long, split), stream(short, split)
        # Only the last, partial sequence is dropped.
        assert 0 <= len(b) - len(a) < 32
        assert np.array_equal(a, b[: len(a)])
    assert long.manifest.val_documents == short.manifest.val_documents


def test_the_schema_is_the_one_that_datasets_writes() -> None:
    features = datasets.Features(
        {n: datasets.List(datasets.Value("int32"), length=8) for n in ("input_ids", "labels")}
    )
    lengths = dict.fromkeys(("input_ids", "labels"), 8)
    assert arrow._schema(lengths).equals(features.arrow_schema, check_metadata=True)
    assert arrow._features(lengths) == features.to_dict()
