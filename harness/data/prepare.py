"""The door to prepared data: find it in the cache, or build it once.

The cache's key is the specification with all that its text depends on, so a found folder is
right by construction; what cannot change unseen is checked on loading.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.config import DataConfig, Source, as_before, digest
from harness.data.cache import build_once, cache_root
from harness.data.manifest import Manifest, Prepared, describe, load_folder
from harness.errors import RequestError

__all__ = ["Manifest", "Prepared", "describe", "find_prepared", "load_folder", "prepare"]

_FORMAT = 2
"""Raised with every change of what preparation makes of the same sources, or of the manifest."""


def prepare(
    data: DataConfig, *, progress: Callable[[str], None] = lambda _: None, verify: bool = False
) -> Prepared:
    """The specification's data: from the cache, else built there; one process builds at a time.

    `verify` recomputes the digests of a folder that was found. Raises RequestError for sources
    that cannot be had or read or are too small, for a corrupt folder, and for a cache that
    cannot be written.
    """
    place = _place(data)
    if not place.is_dir():
        if any(source.kind == "hub" for source in data.sources):
            from harness.data.sources import build_hub

            build_hub(data, _tokenizer(data, progress), place, progress)
        else:
            build_once(place, lambda folder: _build(data, folder, progress))
    prepared = load_folder(place)
    if verify:
        prepared.check()
    return prepared


def find_prepared(data: DataConfig) -> Prepared | None:
    """The specification's data if it is in the cache; builds nothing. Raises RequestError."""
    place = _place(data)
    return load_folder(place) if place.is_dir() else None


def _build(data: DataConfig, folder: Path, progress: Callable[[str], None]) -> None:
    if data.format == "chat":
        from harness.data.sources import build_chat

        build_chat(data, _tokenizer(data, progress), folder, progress)
    else:
        from harness.data.build import build

        build(data, folder, progress)


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
    }  # fmt: skip
    return prepare(data.model_copy(update=texts), progress=progress).folder


def _place(data: DataConfig) -> Path:
    names = [source.name for source in data.sources]
    if len(set(names)) < len(names):
        raise RequestError(f"data.sources has two sources of one name: {', '.join(names)}")
    spec = as_before(data, "data")
    for source in spec["sources"]:
        del source["paths"]  # what the files hold counts, not where they lie
    for source in spec["fitted_on"]:
        del source["paths"]
    inputs = [_fingerprint(source) for source in (*data.sources, *data.fitted_on)]
    key = digest({"format": _FORMAT, "spec": spec, "inputs": inputs})
    return cache_root() / "data" / key


def _fingerprint(source: Source) -> str:
    """What a source's text depends on, besides the specification."""
    from harness.data import files, stdlib, wheels

    if source.kind == "files":
        return files.fingerprint(source)
    if source.kind == "hub":
        return ""  # once prepared it stays: its manifest tells the commit that was read
    if source.kind == "wheel-talk":
        from harness.data.conversations import CHATTERBOT

        return CHATTERBOT.sha256
    return (stdlib if source.kind.startswith("stdlib") else wheels).fingerprint()
