"""Building a prepared folder: read, split, fit, tokenize, mix, pack, write.

Everything is a function of the specification and the sources' text. The caller owns the folder
and puts it in its place.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from harness.config import DataConfig, Source
from harness.data import files, stdlib, tokenizer, wheels
from harness.data.manifest import (
    Manifest,
    Prepared,
    SourceUse,
    array_digest,
    content_digest,
    seal,
)
from harness.data.mix import interleave, shuffled
from harness.data.units import Paragraphs, Unit, cut, held_out
from harness.errors import RequestError

FIT_BYTES = 16_000_000
"""The tokenizer is fitted on at most this much of the train split, mixed by the shares."""

Progress = Callable[[str], None]


@dataclass
class Documents:
    """One source's documents on each side of the split, in the order of the stream."""

    train: list[str]
    val: list[str]
    text_digest: str


@dataclass(frozen=True)
class Packed:
    """A split in rows, and what each source gave to it."""

    tokens: np.ndarray
    """(rows, seq_len) int32."""
    documents: np.ndarray
    """(rows, seq_len) int32: place of the token's document in the stream."""
    sources: np.ndarray
    """(documents,) the source of each document."""
    dropped: int
    """Tokens of the last, partial row."""

    def use(self, source: int, token_bytes: np.ndarray) -> tuple[int, int, int]:
        """(documents, tokens, UTF-8 bytes) of one source."""
        mine = self.sources[self.documents] == source
        tokens = self.tokens[mine]
        found = len(np.unique(self.documents[mine]))
        return found, len(tokens), int(token_bytes[tokens].sum(dtype=np.int64))


def build(data: DataConfig, folder: Path, progress: Progress) -> Prepared:
    """Write the prepared data into an empty folder.

    Raises RequestError for sources that cannot be read or hold too little.
    """
    documents, repeated = read_documents(data, progress)
    progress(f"fitting a tokenizer of {data.vocab_size:,} tokens")
    fitted = tokenizer.fit(_sample(data, documents), data.vocab_size)
    tokenizer.save(fitted, folder, data.seq_len)
    progress("tokenizing and packing")
    train = _pack_train(data, documents, fitted)
    val = _pack_val(data, documents, fitted)
    progress(f"writing {len(train.tokens):,} training and {len(val.tokens):,} validation sequences")
    _write_dataset(folder / "dataset", train, val)
    manifest = _manifest(data, folder, documents, repeated, train, val)
    with (folder / "manifest.json").open("w", encoding="utf-8") as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return Prepared(folder, manifest)


def read_documents(data: DataConfig, progress: Progress) -> tuple[list[Documents], int]:
    """Each source's documents, split, cleaned and shuffled; and the repeated paragraphs dropped.

    In prose a paragraph stands once; whatever stands in train does not stand in validation.
    Files are taken as they are: equal documents fall on the same side.
    Raises RequestError.
    """
    units = [_read(source, progress) for source in data.sources]
    seen = Paragraphs()
    sides: list[dict[bool, list[str]]] = [{False: [], True: []} for _ in units]
    digests = [hashlib.sha256() for _ in units]
    for side in (False, True):  # train first, so that validation is what loses repeats
        for i, source in enumerate(data.sources):
            for unit in units[i]:
                if held_out(data.split_seed, unit.name, data.val_fraction) is not side:
                    continue
                for text in _clean(source, unit, seen, validation=side):
                    sides[i][side].append(text)
                    digests[i].update(f"{side:d} {len(text)} ".encode() + text.encode())
    repeated = seen.dropped + sum(unit.repeated for many in units for unit in many)
    return [
        Documents(
            train=_shuffle(both[False], data.split_seed, i),
            val=_shuffle(both[True], data.split_seed, i),
            text_digest=digests[i].hexdigest(),
        )
        for i, both in enumerate(sides)
    ], repeated


def _read(source: Source, progress: Progress) -> list[Unit]:
    progress(f"reading {source.name} ({source.kind})")
    readers: dict[str, Callable[[], list[Unit]]] = {
        "stdlib-prose": stdlib.prose,
        "stdlib-code": stdlib.code,
        "wheel-prose": lambda: wheels.prose(progress),
        "wheel-code": lambda: wheels.code(progress),
        "files": lambda: files.read(source),
    }
    units = readers[source.kind]()
    if not any(unit.text.strip() for unit in units):
        raise RequestError(f"the corpus is empty: source '{source.name}' holds no text")
    return units


def _clean(source: Source, unit: Unit, seen: Paragraphs, *, validation: bool) -> list[str]:
    if source.kind == "files":
        return [unit.text]
    # Half surrogates stand in a few modules' strings; UTF-8 has no form for them.
    text = unit.text.encode(errors="ignore").decode()
    if source.kind.endswith("-prose"):
        return cut(seen.unseen(text))
    if validation:
        return cut(seen.unleaked(text))
    seen.remember(text)
    return cut(text)


def _shuffle(texts: list[str], seed: int, source: int) -> list[str]:
    return [texts[i] for i in shuffled(len(texts), seed, source)]


def _shares(data: DataConfig) -> list[float]:
    return [source.share for source in data.sources]


def _sample(data: DataConfig, documents: Sequence[Documents]) -> Iterator[str]:
    """Training text for the tokenizer, mixed by bytes as the stream is by tokens."""
    taken = 0
    mixed = interleave(
        [iter(source.train) for source in documents], _shares(data), lambda t: len(t.encode())
    )
    for _, text in mixed:
        yield text
        taken += len(text.encode())
        if taken >= FIT_BYTES:
            return


def _pack_train(data: DataConfig, documents: Sequence[Documents], fitted: Tokenizer) -> Packed:
    streams = [tokenizer.encode(fitted, source.train) for source in documents]
    limit = math.inf if data.train_tokens is None else data.train_tokens
    taken: list[tuple[int, np.ndarray]] = []
    total = 0
    for source, ids in interleave(streams, _shares(data), len):
        taken.append((source, ids))
        total += len(ids)
        if total >= limit:
            break
    if total < min(data.seq_len, limit) or not taken:
        raise RequestError(
            f"the corpus gives {total:,} training tokens in the shares asked for, fewer than one "
            f"sequence of data.seq_len={data.seq_len}"
        )
    if limit < data.seq_len:
        raise RequestError(
            f"data.train_tokens={limit} is less than one sequence of data.seq_len={data.seq_len}"
        )
    return _pack(taken, data.seq_len, int(min(total, limit)))


def _pack_val(data: DataConfig, documents: Sequence[Documents], fitted: Tokenizer) -> Packed:
    """Whole documents up to `val_tokens`; if the first is longer than that, its beginning."""
    streams = [tokenizer.encode(fitted, source.val) for source in documents]
    taken: list[tuple[int, np.ndarray]] = []
    total = 0
    for source, ids in interleave(streams, _shares(data), len):
        if total + len(ids) > data.val_tokens:
            if not taken:
                taken.append((source, ids[: data.val_tokens]))
                total = data.val_tokens
            break
        taken.append((source, ids))
        total += len(ids)
    if total < data.seq_len:
        raise RequestError(
            f"the held-out documents give {total:,} validation tokens in the shares asked for, "
            f"fewer than one sequence of data.seq_len={data.seq_len}: give more documents, or "
            f"raise data.val_fraction ({data.val_fraction:g}) or data.val_tokens "
            f"({data.val_tokens})"
        )
    return _pack(taken, data.seq_len, total)


def _pack(taken: Sequence[tuple[int, np.ndarray]], seq_len: int, total: int) -> Packed:
    rows = total // seq_len
    kept = rows * seq_len
    lengths = [len(ids) for _, ids in taken]
    tokens = np.concatenate([ids for _, ids in taken])[:kept]
    documents = np.repeat(np.arange(len(taken), dtype=np.int32), lengths)[:kept]
    return Packed(
        tokens=tokens.reshape(rows, seq_len),
        documents=documents.reshape(rows, seq_len),
        sources=np.array([source for source, _ in taken]),
        dropped=total - kept,
    )


def _write_dataset(folder: Path, train: Packed, val: Packed) -> None:
    import pyarrow as pa
    from datasets import Dataset, DatasetDict, Features, List, Value
    from datasets.utils.logging import (
        disable_progress_bar,
        enable_progress_bar,
        is_progress_bar_enabled,
    )

    def split(columns: dict[str, np.ndarray]) -> Dataset:
        arrays = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
            for name, rows in columns.items()
        }
        features = Features(
            {name: List(Value("int32"), length=rows.shape[1]) for name, rows in columns.items()}
        )
        # A fingerprint of our own: the library's depends on where and when.
        mark = array_digest(*columns.values())[:16]
        table = pa.table(arrays, schema=features.arrow_schema)
        return Dataset(table, fingerprint=mark)

    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        DatasetDict(
            {
                "train": split({"input_ids": train.tokens}),
                "validation": split({"input_ids": val.tokens, "documents": val.documents}),
            }
        ).save_to_disk(str(folder))
    finally:
        if shown:
            enable_progress_bar()


def unigram_nats(train: np.ndarray, targets: np.ndarray, vocab_size: int) -> float:
    """Summed nats of `targets` under the add-one-smoothed unigram model of `train`:
    p(token) = (count + 1) / (training tokens + vocabulary)."""
    counts = np.bincount(train.ravel(), minlength=vocab_size)
    nats = np.log(train.size + vocab_size) - np.log(counts + 1)
    return float(nats[targets].sum())


def _manifest(
    data: DataConfig,
    folder: Path,
    documents: Sequence[Documents],
    repeated: int,
    train: Packed,
    val: Packed,
) -> Manifest:
    sizes = np.load(folder / "token_bytes.npy")
    targets = val.tokens[:, 1:]
    scored_bytes = int(sizes[targets].sum(dtype=np.int64))
    nats = unigram_nats(train.tokens, targets, len(sizes))
    uses = []
    for i, source in enumerate(data.sources):
        train_documents, train_tokens, train_bytes = train.use(i, sizes)
        val_documents, val_tokens, val_bytes = val.use(i, sizes)
        uses.append(
            SourceUse(
                name=source.name,
                kind=source.kind,
                share=source.share,
                achieved_share=train_tokens / train.tokens.size,
                train_documents=train_documents,
                train_tokens=train_tokens,
                train_bytes=train_bytes,
                val_documents=val_documents,
                val_tokens=val_tokens,
                val_bytes=val_bytes,
                text_digest=documents[i].text_digest,
            )
        )
    tokenizer_digest = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    train_digest = array_digest(train.tokens)
    val_digest = array_digest(val.tokens, val.documents)
    unsealed = Manifest(
        schema_version=1,
        spec=data,
        sources=tuple(uses),
        seq_len=data.seq_len,
        vocab_size=len(sizes),
        train_rows=len(train.tokens),
        train_tokens=train.tokens.size,
        train_tokens_dropped=train.dropped,
        val_rows=len(val.tokens),
        val_tokens=val.tokens.size,
        val_tokens_dropped=val.dropped,
        val_scored_tokens=targets.size,
        val_scored_bytes=scored_bytes,
        val_documents=len(np.unique(val.documents)),
        repeated_paragraphs=repeated,
        unigram_val_loss=nats / targets.size,
        unigram_bits_per_byte=nats / math.log(2) / scored_bytes,
        tokenizer_digest=tokenizer_digest,
        train_digest=train_digest,
        val_digest=val_digest,
        digest=content_digest(data, tokenizer_digest, train_digest, val_digest),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("tokenizers", "datasets", "pyarrow", "numpy")},
        },
        files={
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
        seal="",
    )
    return unsealed.model_copy(update={"seal": seal(unsealed.model_dump(mode="json"))})
