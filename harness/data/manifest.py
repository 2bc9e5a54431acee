"""What a prepared folder says of itself: the manifest, and reading it back with its checks.

May not import tokenizers, datasets or pyarrow: a run that finds its data prepared must be quick.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from harness.config import DataConfig, Frozen, as_before, digest
from harness.errors import RequestError, explain
from harness.files import JSON_BYTES, read_json, read_regular

if TYPE_CHECKING:
    from harness.data.batches import Split

MANIFEST = "manifest.json"
PREPARATION = "preparation.json"
"""What was asked for and what came of it, beyond the manifest's fields."""
UNKNOWN = "unknown"
"""The digest of a tokenizer that nobody named."""

Count = Annotated[int, Field(ge=0, le=2**62)]
"""Of anything in a folder: what no disk holds is no count, and no float holds it either."""


class SourceUse(Frozen):
    """What became of one source."""

    name: str
    kind: str
    share: float
    """Asked for."""
    achieved_share: float
    """The source's part of the training tokens."""
    train_documents: Count
    train_tokens: Count
    """End-of-document tokens included."""
    train_bytes: Count
    """UTF-8, end-of-document tokens adding none."""
    val_documents: Count
    val_tokens: Count
    val_bytes: Count
    text_digest: str
    """SHA-256 of all its documents, in the order read, before any mixing."""


class SecondText(Frozen):
    """The second text, scored where a horizon ends."""

    mix: dict[str, float]
    """Share of the tokens by source."""
    scored_tokens: Count
    scored_bytes: Count
    documents: Count
    unigram_loss: float
    """Nats a scored token of the unigram model of the training tokens."""
    digest: str
    """SHA-256 of its tokens, then of their documents."""


class Manifest(Frozen):
    """`manifest.json`."""

    schema_version: Literal[1]
    spec: DataConfig
    sources: tuple[SourceUse, ...]
    seq_len: Count
    vocab_size: Count
    """Tokens that the tokenizer knows; a small corpus may leave them fewer than the
    specification's."""
    train_rows: Count
    train_tokens: Count
    """The tokens in the training rows, once through."""
    train_tokens_dropped: Count
    """The tokens of the last, partial row, which is not used."""
    val_rows: Count
    val_tokens: Count
    val_tokens_dropped: Count
    val_scored_tokens: Count
    """Targets: all but the first token of each row."""
    val_scored_bytes: Count
    """UTF-8 bytes of the scored tokens; end-of-document tokens are scored but add none. 0 where
    the tokenizer is unknown."""
    val_documents: Count
    repeated_paragraphs: Count
    """Dropped because they stood elsewhere already; from validation if they stand in train."""
    unigram_val_loss: float
    """Nats a scored token of the add-one-smoothed unigram model of the training tokens."""
    unigram_bits_per_byte: float | None
    """None where the tokenizer is unknown."""
    tokenizer_digest: str
    """SHA-256 of tokenizer.json, or `unknown`."""
    train_digest: str
    """SHA-256 of the training tokens as little-endian int32, row by row."""
    val_digest: str
    """The same of the validation tokens, then of their documents."""
    labels_digest: str | None = None
    """The same of the training labels, then of the validation labels; None where every token is a
    target."""
    second: SecondText | None = None
    """None where the specification names no second text."""
    digest: str
    """The digest of the content: specification, tokenizer, and the tokens of both splits."""
    versions: dict[str, str]
    """Python and the packages that made it."""
    files: dict[str, int]
    """Every other file of the folder and its size in bytes."""
    seal: str
    """The digest of all the above, so that a changed manifest shows."""


def content_digest(spec: DataConfig, tokenizer: str, *content: Any) -> str:
    """The manifest's digest. Where `files` sources lie does not enter, only what they hold."""
    plain = as_before(spec, "data")
    for source in plain["sources"]:
        del source["paths"]
    for source in plain.get("second", ()):
        del source["paths"]
    return digest([plain, tokenizer, *content], length=64)


def column_digests(train: Split, val: Split) -> dict[str, str]:
    """The digest of every column of both splits: the content, where a `PREPARATION` lies beside
    it."""
    return {
        f"{name}.{column}": array_digest(*split.chunks(column))
        for name, split in (("train", train), ("validation", val))
        for column in sorted(split.names)
    }


def seal(fields: Mapping[str, Any]) -> str:
    """The seal of a manifest's other fields."""
    return digest({name: fields[name] for name in fields if name != "seal"}, length=64)


def array_digest(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays as little-endian int32, in C order, one after another."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array, dtype="<i4").data)
    return whole.hexdigest()


@dataclass(frozen=True)
class Prepared:
    """A prepared folder."""

    folder: Path
    manifest: Manifest

    def check(self) -> None:
        """Recompute the digests of both splits, and the bytes of what is scored. Raises
        RequestError when the folder is corrupt."""
        try:
            self._check()
        except (ArithmeticError, EOFError, LookupError, MemoryError, RecursionError, ValueError):
            raise RequestError(
                f"{self.folder} is corrupt: its files are not what the manifest says; delete the "
                "folder and prepare it again"
            ) from None

    def _check(self) -> None:
        from harness.data.batches import SECOND, read_split, read_validation

        said = self.manifest
        train = read_split(self.folder, "train")
        val = read_split(self.folder, "validation")
        found = {
            "train": array_digest(*train.chunks("input_ids")),
            "validation": array_digest(*val.chunks("input_ids"), *val.chunks("documents")),
        }
        for split, expected in (("train", said.train_digest), ("validation", said.val_digest)):
            if found[split] != expected:
                raise RequestError(
                    f"{self.folder} is corrupt: the {split} tokens are not the manifest's; "
                    "delete the folder and prepare it again"
                )
        if said.second is not None:
            second = read_split(self.folder, SECOND)
            columns = (*second.chunks("input_ids"), *second.chunks("documents"))
            if array_digest(*columns) != said.second.digest:
                raise RequestError(
                    f"{self.folder} is corrupt: the {SECOND} text's tokens are not the manifest's; "
                    "delete the folder and prepare it again"
                )
        if labels_digest(train, val) != said.labels_digest and said.labels_digest is not None:
            raise RequestError(
                f"{self.folder} is corrupt: the labels are not the manifest's; delete the folder "
                "and prepare it again"
            )
        asked = self.folder / PREPARATION
        if asked.is_file():
            content = [column_digests(train, val), read_json(asked)]
            whole = content_digest(said.spec, said.tokenizer_digest, *content)
            if whole != said.digest:
                raise RequestError(
                    f"{self.folder} is corrupt: a column of its tokens, or {PREPARATION}, is not "
                    "the manifest's; delete the folder and prepare it again"
                )
        scored = read_validation(self.folder)
        targets = scored.targets[scored.targets >= 0]
        counted = int(scored.token_bytes[targets].sum())
        if targets.size == said.val_scored_tokens and counted != said.val_scored_bytes:
            raise RequestError(
                f"{self.folder} is corrupt: token_bytes.npy is not what the manifest counted with; "
                "delete the folder and prepare it again"
            )


def labels_digest(train: Split, val: Split) -> str | None:
    """`Manifest.labels_digest` of two splits."""
    if "labels" not in train.names or "labels" not in val.names:
        return None
    return array_digest(*train.chunks("labels"), *val.chunks("labels"))


def load_folder(path: Path) -> Prepared:
    """A prepared folder, by its manifest; files are checked by size, the tokenizer by digest.

    Raises RequestError for a folder that is not one, or is corrupt.
    """
    if not path.is_dir():
        raise RequestError(f"no prepared data folder '{path}'")
    file = path / MANIFEST
    if not file.is_file():
        raise RequestError(f"'{path}' has no manifest.json: it is not a prepared data folder")
    written = read_regular(file, JSON_BYTES)
    try:
        manifest = Manifest.model_validate_json(written)
    except ValidationError as error:
        raise RequestError(f"{file} is not a manifest of this version: {explain(error)}") from None
    # Of what was written: a field that the specification has gained since was not sealed.
    if manifest.seal != seal(json.loads(written)):
        raise RequestError(f"{file} was changed after it was written")
    for name, size in manifest.files.items():
        inside = path / name
        if not inside.is_file():
            raise RequestError(f"{path} is corrupt: {name} is missing")
        if inside.stat().st_size != size:
            raise RequestError(
                f"{path} is corrupt: {name} has {inside.stat().st_size} bytes, not {size}"
            )
    if manifest.tokenizer_digest == UNKNOWN:
        return Prepared(path, manifest)
    tokenizer = hashlib.sha256(read_regular(path / "tokenizer.json", JSON_BYTES)).hexdigest()
    if tokenizer != manifest.tokenizer_digest:
        raise RequestError(
            f"{path}: tokenizer.json is not the one that the data was tokenized with "
            f"({tokenizer[:12]} instead of {manifest.tokenizer_digest[:12]})"
        )
    return Prepared(path, manifest)


def describe(manifest: Manifest) -> str:
    """A few lines for people: what there is of each source, and the unigram reference."""
    lines = [
        f"train: {manifest.train_tokens:,} tokens in {manifest.train_rows:,} sequences of "
        f"{manifest.seq_len}; validation: {manifest.val_scored_tokens:,} tokens scored, "
        f"{manifest.val_documents:,} documents",
        f"tokenizer: {manifest.vocab_size:,} tokens ({manifest.tokenizer_digest[:12]}); data "
        f"{manifest.digest[:12]}",
    ]
    lines += [
        f"  {s.name} ({s.kind}): {s.train_documents:,} documents, {s.train_tokens:,} tokens, "
        f"{s.train_bytes / 1e6:.2f} MB, {100 * s.achieved_share:.2f} % of train "
        f"(asked {100 * s.share:g} %)"
        for s in manifest.sources
    ]
    if (other := manifest.second) is not None:
        lines.append(
            f"  second text ({', '.join(other.mix)}): {other.scored_tokens:,} tokens scored, "
            f"{other.documents:,} documents"
        )
    bits = manifest.unigram_bits_per_byte
    lines.append(
        f"unigram model on validation: {manifest.unigram_val_loss:.4f} nats a token, "
        + (f"{bits:.4f} bits a byte; " if bits is not None else "bits a byte unknown; ")
        + f"{manifest.repeated_paragraphs:,} repeated paragraphs dropped"
    )
    return "\n".join(lines)
