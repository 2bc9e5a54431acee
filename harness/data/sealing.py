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
from typing import Any

from harness.config import DataConfig, as_before, digest
from harness.data.arrow import write_json
from harness.data.batches import read_split
from harness.data.manifest import (
    MANIFEST,
    UNKNOWN,
    Manifest,
    Prepared,
    SourceUse,
    array_digest,
    labels_digest,
    seal,
)
from harness.errors import RequestError

DATA = "data"
"""Inside a preparation that can go on: the folder that is to take its place."""
REQUEST = "request.json"

PREPARATION = "preparation.json"
"""What was asked for and what came of it, beyond the manifest's fields."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Scored:
    """The validation targets."""

    tokens: int
    bytes: int
    documents: int
    unigram_nats: float
    """Summed, under the unigram model of the training tokens."""


def write_manifest(
    folder: Path,
    spec: DataConfig,
    uses: Sequence[SourceUse],
    *,
    vocab_size: int,
    train_dropped: int,
    val_dropped: int,
    scored: Scored,
    preparation: dict[str, Any],
) -> Prepared:
    """Write `preparation.json` and `manifest.json` over a folder that is otherwise complete.

    The content's digest covers every column of both splits, labels too, and the preparation.
    """
    write_json(folder / PREPARATION, preparation)
    train, val = read_split(folder, "train"), read_split(folder, "validation")
    named = folder / "tokenizer.json"
    tokenizer = hashlib.sha256(named.read_bytes()).hexdigest() if named.is_file() else UNKNOWN
    train_digest = array_digest(*train.chunks("input_ids"))
    val_digest = array_digest(*val.chunks("input_ids"), *val.chunks("documents"))
    columns = {
        f"{name}.{column}": array_digest(*split.chunks(column))
        for name, split in (("train", train), ("validation", val))
        for column in sorted(split.names)
    }
    plain = as_before(spec, "data")
    for source in plain["sources"]:
        del source["paths"]
    unsealed = Manifest(
        schema_version=1,
        spec=spec,
        sources=tuple(uses),
        seq_len=train.seq_len,
        vocab_size=vocab_size,
        train_rows=train.rows,
        train_tokens=train.rows * train.seq_len,
        train_tokens_dropped=train_dropped,
        val_rows=val.rows,
        val_tokens=val.rows * val.seq_len,
        val_tokens_dropped=val_dropped,
        val_scored_tokens=scored.tokens,
        val_scored_bytes=scored.bytes,
        val_documents=scored.documents,
        repeated_paragraphs=0,
        unigram_val_loss=scored.unigram_nats / scored.tokens,
        unigram_bits_per_byte=scored.unigram_nats / math.log(2) / scored.bytes
        if tokenizer != UNKNOWN
        else None,
        tokenizer_digest=tokenizer,
        train_digest=train_digest,
        val_digest=val_digest,
        labels_digest=labels_digest(train, val),
        digest=digest([plain, tokenizer, columns, preparation], length=64),
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
        with suppress(OSError):  # what holds something stays
            for parent in fresh:
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
