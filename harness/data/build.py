"""Texts that fit in memory: read, split, tokenized, mixed and packed, with a tokenizer that is
fitted on them or given.

Everything is a function of the specification and the sources' text. The caller owns the folder
and puts it in its place.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from harness.config import DataConfig, Source
from harness.data import given, sources, tokenizer
from harness.data.arrow import close_dataset, write_split
from harness.data.batches import SECOND
from harness.data.manifest import Prepared, SecondText, array_digest
from harness.data.mix import interleave, shuffled
from harness.data.packing import fill
from harness.data.sealing import Counts, Progress, Scored, Side, score, use, write_manifest
from harness.data.streams import Stream, listed
from harness.data.units import Paragraphs
from harness.errors import RequestError

FIT_BYTES = 16_000_000
"""The tokenizer is fitted on at most this much of the train split, mixed by the shares."""


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


def build(
    data: DataConfig, folder: Path, progress: Progress, given_tokenizer: Path | None = None
) -> Prepared:
    """Write the prepared data into an empty folder; without a tokenizer that is given, one is
    fitted on the training side.

    Raises RequestError for sources that cannot be read or hold too little.
    """
    seen = Paragraphs()
    documents, repeated = read_documents(data, progress, seen)
    if given_tokenizer is None:
        progress(f"fitting a tokenizer of {data.vocab_size:,} tokens")
        fitted = tokenizer.fit(_sample(data, documents), data.vocab_size)
        tokenizer.save(fitted, folder, data.seq_len)
    else:
        given.install(given_tokenizer, folder)
        fitted = tokenizer.load(folder)
    progress("tokenizing and packing")
    train = _pack_train(data, documents, fitted)
    val = _pack_scored(data, data.sources, [source.val for source in documents], fitted)
    progress(f"writing {len(train.tokens):,} training and {len(val.tokens):,} validation sequences")
    write_split(folder / "dataset" / "train", {"input_ids": train.tokens})
    write_split(
        folder / "dataset" / "validation", {"input_ids": val.tokens, "documents": val.documents}
    )
    sizes = np.load(folder / "token_bytes.npy")
    counted = np.bincount(train.tokens.ravel(), minlength=len(sizes))
    splits, other = ["train", "validation"], None
    if data.second:
        second = _pack_scored(data, data.second, read_second(data, seen, progress), fitted)
        columns = {"input_ids": second.tokens, "documents": second.documents}
        write_split(folder / "dataset" / SECOND, columns)
        splits.append(SECOND)
        other = _second_text(data, second, score(second.tokens[:, 1:], sizes, counted))
    close_dataset(folder / "dataset", splits)
    uses = []
    for i, source in enumerate(data.sources):
        sides = [Side.of(s.tokens, s.documents, s.sources, i, sizes) for s in (train, val)]
        achieved = sides[0].tokens / train.tokens.size
        uses.append(use(source, achieved, documents[i].text_digest, *sides))
    return write_manifest(
        folder,
        data,
        uses,
        Counts(
            vocab_size=len(sizes),
            val_documents=len(np.unique(val.documents)),
            scored=score(val.tokens[:, 1:], sizes, counted),
            dropped=(train.dropped, val.dropped),
            second=other,
            repeated=repeated,
        ),
    )


def read_documents(
    data: DataConfig, progress: Progress, seen: Paragraphs | None = None
) -> tuple[list[Documents], int]:
    """Each source's documents, split, cleaned and shuffled; and the repeated paragraphs dropped.
    `seen` then knows the paragraphs of both sides.

    Each kind of source says what of its text enters; train is asked first, so that validation is
    what loses repeats. Raises RequestError.
    """
    kinds = sources.make_all(data, progress)
    split = [kind.split(sources.units(kind), data.split_seed, data.val_fraction) for kind in kinds]
    seen = Paragraphs() if seen is None else seen
    sides: list[dict[bool, list[str]]] = [{False: [], True: []} for _ in kinds]
    digests = [hashlib.sha256() for _ in kinds]
    for side in (False, True):
        for i, kind in enumerate(kinds):
            for unit in split[i][side]:
                for text in kind.documents(unit, seen, validation=side):
                    sides[i][side].append(text)
                    digests[i].update(f"{side:d} {len(text)} ".encode() + text.encode())
    repeated = seen.dropped + sum(
        unit.repeated for sides_of in split for many in sides_of for unit in many
    )
    return [
        Documents(
            train=_shuffle(both[False], data.split_seed, i),
            val=_shuffle(both[True], data.split_seed, i),
            text_digest=digests[i].hexdigest(),
        )
        for i, both in enumerate(sides)
    ], repeated


def read_second(data: DataConfig, seen: Paragraphs, progress: Progress) -> list[list[str]]:
    """Each source's documents of the second text, shuffled, less the paragraphs that were `seen`.
    Raises RequestError."""
    found = []
    for number, source in enumerate(data.second):
        kind = sources.make(source, progress=progress)
        texts = [
            text
            for unit in sources.units(kind)
            for text in kind.documents(unit, seen, validation=True)
        ]
        found.append(_shuffle(texts, data.split_seed, len(data.sources) + number))
    return found


def _second_text(data: DataConfig, second: Packed, scored: Scored) -> SecondText:
    owners = second.sources[second.documents]
    return SecondText(
        mix={source.name: float((owners == i).mean()) for i, source in enumerate(data.second)},
        scored_tokens=scored.tokens,
        scored_bytes=scored.bytes,
        documents=len(np.unique(second.documents)),
        unigram_loss=scored.unigram_nats / scored.tokens,
        digest=array_digest(second.tokens, second.documents),
    )


def as_streams(data: DataConfig, origin: str, progress: Progress) -> list[Stream]:
    """The same documents, of both sides of the split, as streams. Raises RequestError."""
    streams = []
    documents, _ = read_documents(data, progress)
    for number, (source, both) in enumerate(zip(data.sources, documents, strict=True)):
        texts = _shuffle([*both.train, *both.val], data.split_seed, number)
        val = {hashlib.sha256(text.encode()).digest() for text in both.val}

        def held(text: str, val: set[bytes] = val) -> bool:
            return hashlib.sha256(text.encode()).digest() in val

        streams.append(
            Stream(source.name, source.kind, source.share, origin, listed(texts, "document"),
                   held_out=held)
        )  # fmt: skip
    return streams


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


def _pack_scored(
    data: DataConfig, of: Sequence[Source], texts: Sequence[Sequence[str]], fitted: Tokenizer
) -> Packed:
    """Documents of each source `of` up to `val_tokens`, each to `val_document_tokens`; if the first
    is longer than all of that, its beginning."""
    most = data.val_document_tokens
    streams = [(ids[:most] for ids in tokenizer.encode(fitted, each)) for each in texts]
    taken: list[tuple[int, np.ndarray]] = []
    total = 0
    for source, ids in interleave(streams, [source.share for source in of], len):
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
    tokens, documents, dropped = fill([ids for _, ids in taken], seq_len, total)
    return Packed(tokens, documents, np.array([source for source, _ in taken]), dropped)
