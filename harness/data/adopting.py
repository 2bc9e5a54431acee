"""Sealing a folder that others prepared: ids and labels checked, validation held out, rows written.

Block by block, so that memory stays flat. May not import torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.config import DataConfig, Source, digest
from harness.data import columns, given
from harness.data.arrow import close_dataset, close_split, write_rows
from harness.data.batches import IGNORED, Split
from harness.data.sealing import Counts, Scored, Side, score, use, write_manifest
from harness.data.units import stretches
from harness.errors import RequestError

VAL_FRACTION = 0.02
VAL_TOKENS = 1_048_576
"""Validation tokens at most."""
LARGEST_ID = 2**24 - 1
"""Of a token: no vocabulary is near it, and a table over all ids must fit into memory."""
_BLOCK = 4096
"""Rows that are in memory at once."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class _Checked:
    """What one pass over a part found."""

    vocab_size: int
    """The largest id and one."""
    masked: bool
    """Labels leave tokens out."""
    trainable: np.ndarray
    """(rows,) bool: which rows have a target."""
    text_digest: str


def _check(split: Split) -> _Checked:
    """Raises RequestError for ids or labels that cannot be trained on."""
    columns.check(split)
    if split.seq_len < 2:
        raise RequestError(
            f"{split.folder}: its sequences have {split.seq_len} tokens; a target needs two"
        )
    largest, masked = -1, False
    trainable = np.ones(split.rows, dtype=bool)
    whole = hashlib.sha256()
    for rows in _blocks(np.arange(split.rows)):
        tokens = split.take("input_ids", rows)
        if tokens.min() < 0:
            raise RequestError(f"{split.folder} has negative token ids in 'input_ids'")
        largest = max(largest, int(tokens.max()))
        if largest > LARGEST_ID:
            raise RequestError(
                f"{split.folder} has token id {largest} in 'input_ids', beyond any vocabulary"
            )
        whole.update(np.ascontiguousarray(tokens, dtype="<i4").data)
        if not columns.has_targets(split):
            continue
        scored = columns.labels(split, rows, tokens) != IGNORED
        masked |= not scored.all()
        trainable[rows] = scored[:, 1:].any(axis=1)
        whole.update(np.packbits(scored).data)
    return _Checked(largest + 1, masked, trainable, whole.hexdigest())


def hold_out(rows: int, seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """(train, validation): which rows stand on each side, ascending; about `VAL_FRACTION` of them
    are held out, in stretches. Raises ValueError for too few rows."""
    return stretches(rows, max(1, min(round(VAL_FRACTION * rows), VAL_TOKENS // seq_len)))


def build(
    folder: Path, parts: dict[str, Path], tokenizer: Path | None, out: Path, progress: Progress
) -> None:
    """Check the parts (`train`, and maybe `validation`) and write the prepared folder `out`.

    Raises RequestError for what cannot be trained on.
    """
    splits = {part: Split(place) for part, place in parts.items()}
    seq_len = splits["train"].seq_len
    columns.same(*splits.values())
    if splits.get("validation", splits["train"]).seq_len != seq_len:
        raise RequestError(
            f"{folder}: training sequences have {seq_len} tokens, validation sequences "
            f"{splits['validation'].seq_len}"
        )
    checked = {part: _check(split) for part, split in splits.items()}
    vocab_size = max(one.vocab_size for one in checked.values())
    sizes = np.zeros(vocab_size, dtype=np.int32)
    if tokenizer is not None:
        sizes = given.install(tokenizer, out)
        if len(sizes) < vocab_size:
            raise RequestError(
                f"{folder} has token {vocab_size - 1}, but its tokenizer only {len(sizes)} tokens"
            )
    else:
        np.save(out / "token_bytes.npy", sizes)
    train, val, how = _sides(folder, splits, checked)
    masked = any(one.masked for one in checked.values())
    holder = splits.get("validation", splits["train"])
    counts = _write(out / "dataset" / "train", splits["train"], train, masked, len(sizes))
    _write(out / "dataset" / "validation", holder, val, masked, len(sizes))
    close_dataset(out / "dataset", ["train", "validation"])
    sides = _side(splits["train"], train, sizes), _side(holder, val, sizes)
    # As a record may name a source: a folder may be called anything.
    safe = re.sub(r"[^A-Za-z0-9._+=,@-]+", "-", folder.resolve().name)
    name = safe.lstrip("._+=,@-")[:100] or "folder"
    source = Source(name=name, kind="files", share=1.0, text_column="input_ids")
    text = digest([one.text_digest for one in checked.values()], length=64)
    prepared = write_manifest(
        out,
        DataConfig(
            sources=(source,),
            seq_len=seq_len,
            vocab_size=len(sizes),
            train_tokens=None,
            val_fraction=VAL_FRACTION,
            val_tokens=VAL_TOKENS,
            split_seed=0,
        ),
        [use(source, 1.0, text, *sides)],
        Counts(
            vocab_size=len(sizes),
            val_documents=len(val),
            scored=_scored(holder, val, sizes, counts),
        ),
        preparation={
            "kind": "adopted",
            "labels": "with targets left out" if masked else "every token",
            **columns.describe(splits.values()),
            "validation": how,
            "rows_without_target": int(sum((~one.trainable).sum() for one in checked.values())),
            "tokenizer": "tokenizer unknown: no bits per byte, and nothing can be sampled; "
            "--tokenizer names it"
            if tokenizer is None
            else "tokenizer given",
        },
    )
    progress(f"{prepared.manifest.train_rows:,} training and {prepared.manifest.val_rows:,} "
             f"validation sequences of {seq_len}; {how}")  # fmt: skip


def _sides(
    folder: Path, splits: dict[str, Split], checked: dict[str, _Checked]
) -> tuple[np.ndarray, np.ndarray, str]:
    """(training rows, validation rows, how validation came about)."""
    usable = checked["train"].trainable
    if "validation" in splits:
        train = np.flatnonzero(usable)
        val = np.flatnonzero(checked["validation"].trainable)
        how = f"validation is its split '{splits['validation'].folder.name}'"
    else:
        rows, seq_len = splits["train"].rows, splits["train"].seq_len
        try:
            train, val = hold_out(rows, seq_len)
        except ValueError:
            raise RequestError(
                f"{folder} has no validation split, and {rows} rows are too few to hold one out"
            ) from None
        left = rows - len(train) - len(val)
        how = (
            f"validation is {len(val):,} of its rows in stretches spread evenly, {left:,} rows "
            "beside them left out; where its rows were shuffled, a document may stand on both sides"
        )
        train, val = train[usable[train]], val[usable[val]]
    for name, side in (("training", train), ("validation", val)):
        if not len(side):
            raise RequestError(f"{folder} has no {name} row with a target")
    return train, val, how


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]


def _write(
    place: Path, split: Split, rows: np.ndarray, masked: bool, vocab_size: int
) -> np.ndarray:
    """The rows as our own files. Returns (vocabulary,) how often each token is a target."""
    place.mkdir(parents=True)
    counts = np.zeros(vocab_size, dtype=np.int64)
    whole = hashlib.sha256()
    kept: dict[str, np.ndarray] = {}
    for number, block in enumerate(_blocks(rows)):
        tokens = split.take("input_ids", block)
        targets = columns.labels(split, block, tokens)
        kept = {"input_ids": tokens} | ({"labels": targets} if masked else {})
        counts += np.bincount(targets[targets != IGNORED], minlength=vocab_size)
        if place.name == "validation":  # where documents end is not known: each row is one
            first = number * _BLOCK
            documents = np.arange(first, first + len(block))
            kept["documents"] = np.repeat(documents[:, None], split.seq_len, axis=1)
        for array in kept.values():
            whole.update(np.ascontiguousarray(array, dtype="<i4").data)
        write_rows(place / f"data-{number:05d}.arrow", kept)
    close_split(place, list(kept), split.seq_len, whole.hexdigest())
    return counts


def _side(split: Split, rows: np.ndarray, sizes: np.ndarray) -> Side:
    """Where documents end is not known: each row is one."""
    size = sum(
        int(sizes[split.take("input_ids", block)].sum(dtype=np.int64)) for block in _blocks(rows)
    )
    return Side(len(rows), len(rows) * split.seq_len, size)


def _scored(split: Split, rows: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> Scored:
    """The validation targets, block by block."""
    found = Scored(0, 0, 0.0)
    for block in _blocks(rows):
        targets = columns.labels(split, block, split.take("input_ids", block))[:, 1:]
        found += score(targets[targets != IGNORED], sizes, counts)
    return found
