"""The last step of a preparation: the manifest over what lies in the folder, and its place.

A prepared folder appears whole: it is built beside its place and renamed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.config import DataConfig
from harness.data.arrow import write_json
from harness.data.batches import read_split
from harness.data.manifest import (
    MANIFEST,
    PREPARATION,
    UNKNOWN,
    Manifest,
    Prepared,
    SecondText,
    SourceUse,
    array_digest,
    column_digests,
    content_digest,
    labels_digest,
    seal,
)
from harness.data.packing import PADDING
from harness.errors import RequestError

DATA = "data"
"""Inside a preparation that can go on: the folder that is to take its place."""
REQUEST = "request.json"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Side:
    """What a source gave to one side of the split, in rows."""

    documents: int
    tokens: int
    bytes: int
    """UTF-8, end-of-document tokens adding none."""

    @classmethod
    def of(
        cls,
        tokens: np.ndarray,
        documents: np.ndarray,
        owners: np.ndarray,
        source: int,
        sizes: np.ndarray,
    ) -> Side:
        """Counted in rows: `documents` has the document of each token, PADDING where there is
        none, `owners` the source of each document, `sizes` the bytes of each token."""
        real = documents != PADDING
        mine = real & (owners[np.where(real, documents, 0)] == source)
        ids = tokens[mine]
        return cls(len(np.unique(documents[mine])), ids.size, int(sizes[ids].sum(dtype=np.int64)))


class Named(Protocol):
    """A source as a specification or a stream names it."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def share(self) -> float: ...


def use(source: Named, achieved: float, text_digest: str, train: Side, val: Side) -> SourceUse:
    """What became of a source, for the manifest; `achieved` is its share of what is trained on."""
    return SourceUse(
        name=source.name,
        kind=source.kind,
        share=source.share,
        achieved_share=achieved,
        train_documents=train.documents,
        train_tokens=train.tokens,
        train_bytes=train.bytes,
        val_documents=val.documents,
        val_tokens=val.tokens,
        val_bytes=val.bytes,
        text_digest=text_digest,
    )


@dataclass(frozen=True)
class Scored:
    """The validation targets."""

    tokens: int
    bytes: int
    unigram_nats: float
    """Summed, under the unigram model of the training tokens."""

    def __add__(self, other: Scored) -> Scored:
        return Scored(
            self.tokens + other.tokens,
            self.bytes + other.bytes,
            self.unigram_nats + other.unigram_nats,
        )


def score(targets: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> Scored:
    """Validation targets under the add-one-smoothed unigram model of the training targets:
    p(token) = (count + 1) / (training targets + vocabulary), from the (vocabulary,) `counts`."""
    nats = np.log(counts.sum() + len(counts)) - np.log(counts + 1)
    return Scored(targets.size, int(sizes[targets].sum(dtype=np.int64)), float(nats[targets].sum()))


@dataclass(frozen=True)
class Counts:
    """What was counted while a folder was written, for its manifest."""

    vocab_size: int
    """Tokens that the tokenizer knows."""
    val_documents: int
    scored: Scored
    dropped: tuple[int, int] = (0, 0)
    """The tokens of the last, partial row of training and of validation, which are not used."""
    second: SecondText | None = None
    repeated: int = 0
    """Paragraphs that were left out because they stand elsewhere."""


def write_manifest(
    folder: Path,
    spec: DataConfig,
    uses: Sequence[SourceUse],
    counts: Counts,
    preparation: dict[str, Any] | None = None,
) -> Prepared:
    """Write `manifest.json`, and `preparation.json` where there is one, over a folder that is
    otherwise complete.

    The content's digest covers the specification and the tokens; with a preparation, which says
    what the specification does not, every column of both splits, labels too, and the preparation.
    """
    if preparation is not None:
        write_json(folder / PREPARATION, preparation)
    train, val = read_split(folder, "train"), read_split(folder, "validation")
    named = folder / "tokenizer.json"
    tokenizer = hashlib.sha256(named.read_bytes()).hexdigest() if named.is_file() else UNKNOWN
    train_digest = array_digest(*train.chunks("input_ids"))
    val_digest = array_digest(*val.chunks("input_ids"), *val.chunks("documents"))
    if preparation is None:
        content: list[Any] = [train_digest, val_digest]
        content += [counts.second.digest] if counts.second is not None else []
    else:
        content = [column_digests(train, val), preparation]
    unsealed = Manifest(
        schema_version=1,
        spec=spec,
        sources=tuple(uses),
        seq_len=train.seq_len,
        vocab_size=counts.vocab_size,
        train_rows=train.rows,
        train_tokens=train.rows * train.seq_len,
        train_tokens_dropped=counts.dropped[0],
        val_rows=val.rows,
        val_tokens=val.rows * val.seq_len,
        val_tokens_dropped=counts.dropped[1],
        val_scored_tokens=counts.scored.tokens,
        val_scored_bytes=counts.scored.bytes,
        val_documents=counts.val_documents,
        repeated_paragraphs=counts.repeated,
        unigram_val_loss=counts.scored.unigram_nats / counts.scored.tokens,
        unigram_bits_per_byte=counts.scored.unigram_nats / math.log(2) / counts.scored.bytes
        if tokenizer != UNKNOWN
        else None,
        tokenizer_digest=tokenizer,
        train_digest=train_digest,
        val_digest=val_digest,
        labels_digest=labels_digest(train, val),
        second=counts.second,
        digest=content_digest(spec, tokenizer, *content),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("tokenizers", "datasets", "pyarrow", "numpy")},
        },
        files={
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != MANIFEST
        },
        seal="",
    )
    manifest = unsealed.model_copy(update={"seal": seal(unsealed.model_dump(mode="json"))})
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return Prepared(folder, manifest)


def check_place(out: Path) -> None:
    """Raises RequestError where the output folder exists or its parent cannot be one."""
    if out.exists() or out.is_symlink():  # one that leads nowhere cannot be replaced by a folder
        raise RequestError(f"'{out}' exists already; delete it, or give another --out")
    for parent in out.parents:
        if parent.exists():
            if not parent.is_dir():
                raise RequestError(f"cannot write '{out}': {parent} is not a folder")
            if not os.access(parent, os.W_OK):
                raise RequestError(f"cannot write '{out}': {parent} is not writable")
            return


@contextmanager
def resumable(
    out: Path,
    asked: dict[str, Any],
    pin: Callable[[], Any],
    progress: Progress,
    *,
    mark: str,
) -> Iterator[tuple[Path, Any]]:
    """`<out>.partial`, kept when the block fails, whose `DATA` takes `out`'s place at its end.

    Until a file `mark` stands in it nothing was achieved, and neither it nor a parent folder that
    was made for it is kept. Yields the folder
    and what `pin` gave when the preparation began: what could have changed since. Raises
    RequestError where `out` exists or cannot be written, where the folder is that of another
    request, and while another process works there.
    """
    from filelock import FileLock, Timeout

    check_place(out)
    work = out.with_name(f"{out.name}.partial")
    lock = out.with_name(f".{out.name}.lock")
    fresh = [parent for parent in out.parents if not parent.exists()]  # the deepest first
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0):
            try:
                if not (work / mark).is_file():
                    shutil.rmtree(work, ignore_errors=True)
                pinned = _begun(work, asked, pin, progress)
                yield work, pinned
                os.rename(work / DATA, out)
                shutil.rmtree(work)
            finally:
                if not (work / mark).is_file():
                    shutil.rmtree(work, ignore_errors=True)
                lock.unlink(missing_ok=True)
    except Timeout:
        raise RequestError(f"another process is preparing '{out}'") from None
    except OSError as error:
        raise RequestError(f"cannot write '{out}' ({error.strerror or error})") from None
    finally:
        for parent in fresh:
            with suppress(OSError):  # what holds something stays; `a/..` is none, and `a` may go
                parent.rmdir()


def _begun(work: Path, asked: dict[str, Any], pin: Callable[[], Any], progress: Progress) -> Any:
    known = work / REQUEST
    if not known.is_file():
        pinned = pin()
        work.mkdir(exist_ok=True)
        write_json(known, {"asked": asked, "pinned": pinned})
        return pinned
    try:
        before = json.loads(known.read_bytes())
        earlier, pinned = before["asked"], before["pinned"]
    except (ValueError, KeyError, TypeError):
        raise RequestError(f"{known} is damaged; delete {work} and start again") from None
    for name in sorted({*asked, *earlier}):
        if asked.get(name) != earlier.get(name):
            raise RequestError(
                f"{work} is a preparation with another {name} ({earlier.get(name)} instead of "
                f"{asked.get(name)}): delete it, or give another --out"
            )
    progress(f"{work} was begun before: going on")
    return pinned
