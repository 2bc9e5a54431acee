"""The door to prepared data: find it in the cache, or build it once; and the mixes that are
streamed to a place of their own, from which a preparation that was cut off goes on.

The cache's key is the specification with all that its text depends on, so a found folder is
right by construction; what cannot change unseen is checked on loading.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.config import DataConfig, as_before, digest
from harness.data import sources
from harness.data.cache import build_once, cache_root
from harness.data.manifest import Manifest, Prepared, describe, load_folder
from harness.data.streams import Stream
from harness.errors import RequestError

if TYPE_CHECKING:
    from harness.data.pretrain import PretrainRequest
    from harness.data.sft import SftRequest

__all__ = ["Manifest", "Prepared", "describe", "find_prepared", "load_folder", "prepare"]

_FORMAT = 2
"""Raised with every change of what preparation makes of the same sources, or of the manifest."""
BLOCK_ROWS = 2048
"""Sequences in one file of a streamed mix of texts."""

Progress = Callable[[str], None]


class Streamed(Protocol):
    """What can be had as a stream: a source of some kind (`harness.data.sources.Kind`)."""

    def asked(self) -> Any: ...
    def revision(self) -> str | None: ...
    def stream(self, seed: int, revision: str | None = None) -> Stream: ...


def prepare(
    data: DataConfig, *, progress: Callable[[str], None] = lambda _: None, verify: bool = False
) -> Prepared:
    """The specification's data: from the cache, else built there; one process builds at a time.

    `verify` recomputes the digests of a folder that was found. Raises RequestError for sources
    that cannot be had or read or are too small, for a corrupt folder, and for a cache that
    cannot be written.
    """
    kinds = sources.make_all(data, progress)
    place = _place(data, kinds)
    if not place.is_dir():
        if any(kind.streams for kind in kinds):
            _build_streamed(data, kinds, place, progress)
        else:
            build_once(place, lambda folder: _build(data, kinds, folder, progress))
    prepared = load_folder(place)
    if verify:
        prepared.check()
    return prepared


def find_prepared(data: DataConfig) -> Prepared | None:
    """The specification's data if it is in the cache; builds nothing. Raises RequestError."""
    place = _place(data, sources.make_all(data))
    return load_folder(place) if place.is_dir() else None


def _build(
    data: DataConfig, kinds: Sequence[sources.Kind], folder: Path, progress: Progress
) -> None:
    if data.format == "chat":
        from harness.data import sft

        tokenizer = _tokenizer(data, progress)
        streams = [kind.stream(data.split_seed) for kind in kinds]
        sft.build(sft.request_of(data), streams, tokenizer, folder, progress, spec=data)
    else:
        from harness.data.build import build

        given = _tokenizer(data, progress) if data.tokenizer != "fitted" else None
        build(data, folder, progress, given)


def _build_streamed(
    data: DataConfig, kinds: Sequence[sources.Kind], place: Path, progress: Progress
) -> None:
    tokenizer = _tokenizer(data, progress)
    if data.format == "chat":
        from harness.data import sft

        mix_conversations(sft.request_of(data), kinds, tokenizer, place, progress, spec=data)
        return
    from harness.data.pretrain import PretrainRequest
    from harness.machine.hardware import cores

    if data.second or data.val_document_tokens:
        raise RequestError(
            "data.second and data.val_document_tokens are for texts that fit in memory, not for a "
            "mix from the Hub"
        )
    if data.train_tokens is None:
        raise RequestError("data.train_tokens must say how much to read from the Hub")
    if other := [kind.source.name for kind in kinds if not kind.streams]:
        raise RequestError(f"a mix from the Hub cannot also hold {', '.join(other)}")
    request = PretrainRequest(
        data.train_tokens, data.seq_len, data.val_fraction, data.val_tokens, data.split_seed,
        BLOCK_ROWS,
    )  # fmt: skip
    mix_texts(request, kinds, tokenizer, place, progress, processes=cores())


def mix_texts(
    request: PretrainRequest,
    wanted: Sequence[Streamed],
    tokenizer: Path,
    out: Path,
    progress: Progress,
    *,
    processes: int,
) -> Prepared:
    """Write a mix of streamed texts to `out`; what was cut off goes on. Raises RequestError."""
    from harness.data import pretrain
    from harness.data.pretrain_state import STATE

    with _pinned(out, request, wanted, tokenizer, progress, mark=STATE) as (work, streams):
        made = pretrain.build(request, streams, tokenizer, work, progress, processes=processes)
    return Prepared(out, made.manifest)


def mix_conversations(
    request: SftRequest,
    wanted: Sequence[Streamed],
    tokenizer: Path,
    out: Path,
    progress: Progress,
    spec: DataConfig | None = None,
) -> Prepared:
    """Write a mix of conversations to `out`, which `spec` asked for, where something did; what was
    cut off goes on. Raises RequestError."""
    from harness.data import sft, sft_pool
    from harness.data.sealing import DATA

    mark = sft_pool.BEGUN
    with _pinned(out, request, wanted, tokenizer, progress, mark=mark) as (work, streams):
        made = sft.build(request, streams, tokenizer, work / DATA, progress, spec, work)
    return Prepared(out, made.manifest)


@contextmanager
def _pinned(
    out: Path,
    request: PretrainRequest | SftRequest,
    wanted: Sequence[Streamed],
    tokenizer: Path,
    progress: Progress,
    *,
    mark: str,
) -> Iterator[tuple[Path, list[Stream]]]:
    """The working folder of a mix and its streams. The sources' newest states are looked up when
    the preparation begins, and kept in it. Raises RequestError."""
    from harness.data.sealing import resumable

    asked = {
        **asdict(request),
        "sources": [one.asked() for one in wanted],
        "tokenizer": hashlib.sha256((tokenizer / "tokenizer.json").read_bytes()).hexdigest(),
    }

    def pin() -> list[str | None]:
        return [one.revision() for one in wanted]

    plain = json.loads(json.dumps(asked))  # as it is read again: without tuples
    with resumable(out, plain, pin, progress, mark=mark) as (work, revisions):
        streams = [
            one.stream(request.seed, revision)
            for one, revision in zip(wanted, revisions, strict=True)
        ]
        try:
            yield work, streams
        except RequestError:
            # Files of this machine are read again once they are mended; a Hub may come back.
            if all((table := getattr(one, "table", None)) and table.local for one in wanted):
                shutil.rmtree(work, ignore_errors=True)
            raise


def _tokenizer(data: DataConfig, progress: Callable[[str], None]) -> Path:
    """The folder of the tokenizer that the specification names. Raises RequestError."""
    if data.tokenizer == "smollm2":
        from harness.data import given

        return given.find(given.SMOLLM2, progress)
    if not data.fitted_on:
        raise RequestError(
            f"data of format {data.format} from {data.sources[0].kind} needs a tokenizer: "
            "data.tokenizer=smollm2, or data.fitted_on"
        )
    texts = {
        "sources": data.fitted_on, "fitted_on": (), "format": "text", "train_tokens": None,
        "conversations": None, "max_epochs": DataConfig.model_fields["max_epochs"].default,
        "val_document_tokens": None, "second": (),
    }  # fmt: skip
    return prepare(data.model_copy(update=texts), progress=progress).folder


def _place(data: DataConfig, kinds: Sequence[sources.Kind]) -> Path:
    spec = as_before(data, "data")
    for source in (*spec["sources"], *spec["fitted_on"], *spec.get("second", ())):
        del source["paths"]  # what the files hold counts, not where they lie
    inputs = [
        sources.fingerprint(kind)
        for kind in (*kinds, *map(sources.make, (*data.fitted_on, *data.second)))
    ]
    key = digest({"format": _FORMAT, "spec": spec, "inputs": inputs})
    return cache_root() / "data" / key
