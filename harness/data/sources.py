"""Preparing what a specification names beyond embedded texts: conversations, and the Hub's data.

From names to streams; what becomes of them stands in `pretrain` and `sft`. May not decide where a
prepared folder lies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.config import DataConfig, Source, as_before
from harness.data import conversations, hub, sft, sft_pool
from harness.data.hub import Table
from harness.data.manifest import Prepared
from harness.data.read_ahead import TextSource
from harness.data.sealing import DATA, Progress, resumable
from harness.data.sft import SftRequest
from harness.data.sft_pool import Position, TalkBatch, TalkSource, listed
from harness.data.units import held_out
from harness.errors import RequestError

BATCH_ROWS = 64
"""Documents that one process tokenizes at a time."""
TALK_ROWS = 64
BLOCK_ROWS = 2048
"""Sequences in one file of a preparation from the Hub."""
TALKS = frozenset({"stdlib-functions", "wheel-talk"})
"""Kinds that are conversations and nothing else."""


def table(source: Source, column: str) -> Table:
    """What a source of kind `hub` reads."""
    return Table(source.dataset, source.name, "train", column)


def streamed_text(
    wanted: Table, share: float, *, seed: int, val_fraction: float, progress: Progress
) -> TextSource:
    """A table's texts, from any position on; held out by the text itself."""

    def batches(start: dict[str, Any] | None) -> Iterator[hub.Batch]:
        return hub.batches(wanted, seed, rows=BATCH_ROWS, progress=progress, start=start)

    def held(text: str) -> bool:
        return held_out(seed, hashlib.sha256(text.encode()).hexdigest(), val_fraction)

    return TextSource(
        wanted.name, "files" if wanted.local else "hub", share, wanted.column,
        f"{wanted.name} in local files" if wanted.local
        else f"{wanted.label}/{wanted.split} at {wanted.revision}",
        batches, held,
    )  # fmt: skip


def streamed_talks(
    wanted: Table, seed: int, progress: Progress
) -> Callable[[Position | None], Iterator[TalkBatch]]:
    """A table's conversations, from any position on."""

    def batches(start: Position | None) -> Iterator[TalkBatch]:
        for one in hub.batches(wanted, seed, rows=TALK_ROWS, progress=progress, start=start):
            talks = [conversations.talk(messages) for messages in one.values]
            yield TalkBatch(one.before, talks, one.places)

    return batches


def talk_table(source: Source) -> Table:
    """What a source of conversations reads, of kind `hub` or `files`."""
    column = "messages" if source.text_column == "text" else source.text_column
    if source.kind == "files":
        return Table(source.paths[0], None, "train", column)
    return table(source, column)


def talk_source(
    source: Source, seed: int, progress: Progress, revision: str | None = None
) -> TalkSource:
    """The conversations that a source names; of the Hub's, those of a commit, which is looked up
    where none is given. Raises RequestError for a source that holds none."""
    if source.kind == "stdlib-functions":
        found = listed(conversations.functions())
        origin = "the standard library's documented functions"
    elif source.kind == "wheel-talk":
        found = listed(conversations.chatterbot(progress))
        origin = f"{conversations.CHATTERBOT.filename} from PyPI"
    elif source.kind == "hub":
        pinned = hub.pin(replace(talk_table(source), revision=revision), progress)
        found = streamed_talks(pinned, seed, progress)
        origin = f"{pinned.label}/{pinned.split} at {pinned.revision}"
    elif source.kind == "files":
        if len(source.paths) != 1:
            raise RequestError(f"source '{source.name}': one file or folder of conversations")
        found = streamed_talks(talk_table(source), seed, progress)
        origin = f"{source.name} in local files"
    else:
        raise RequestError(f"source '{source.name}' ({source.kind}) holds no conversations")
    return TalkSource(source.name, source.kind, source.share, found, origin)


def build_talks(
    request: SftRequest,
    wanted: Sequence[Source],
    tokenizer: Path,
    out: Path,
    progress: Progress,
    spec: DataConfig | None = None,
) -> Prepared:
    """Write the mix of these sources' conversations to `out`; what was cut off goes on.

    The data sets' newest commits are looked up when the preparation begins, and kept in it.
    Raises RequestError.
    """
    asked = {
        **asdict(request),
        "sources": [as_before(source, "data.sources") for source in wanted],
        "tokenizer": hashlib.sha256((tokenizer / "tokenizer.json").read_bytes()).hexdigest(),
    }

    def pin() -> list[str | None]:
        return [
            hub.pin(talk_table(source), progress).revision if source.kind == "hub" else None
            for source in wanted
        ]

    with resumable(out, asked, pin, progress, mark=sft_pool.BEGUN) as (work, revisions):
        sources = [
            talk_source(source, request.seed, progress, revision)
            for source, revision in zip(wanted, revisions, strict=True)
        ]
        prepared = sft.build(request, sources, tokenizer, work / DATA, progress, spec, work)
    return Prepared(out, prepared.manifest)


def chat_request(data: DataConfig) -> SftRequest:
    """What a specification of conversations asks for."""
    return SftRequest(
        data.conversations, data.max_epochs, data.seq_len, data.val_fraction, data.split_seed,
        val_tokens=data.val_tokens,
    )  # fmt: skip


def build_chat(data: DataConfig, tokenizer: Path, folder: Path, progress: Progress) -> Prepared:
    """Write the conversations of a specification into an empty folder. Raises RequestError."""
    sources = [talk_source(source, data.split_seed, progress) for source in data.sources]
    return sft.build(chat_request(data), sources, tokenizer, folder, progress, spec=data)


def build_hub(data: DataConfig, tokenizer: Path, place: Path, progress: Progress) -> None:
    """Write a mix from the Hub to `place`; what was cut off goes on. Raises RequestError.

    The data sets' newest commits are looked up when the preparation begins, and kept in it.
    """
    from harness.data import pretrain
    from harness.data.pretrain_state import STATE
    from harness.machine.hardware import cores

    if data.format == "chat":
        build_talks(chat_request(data), data.sources, tokenizer, place, progress, data)
        return
    if data.train_tokens is None:
        raise RequestError("data.train_tokens must say how much to read from the Hub")
    if other := [s.name for s in data.sources if s.kind != "hub"]:
        raise RequestError(f"a mix from the Hub cannot also hold {', '.join(other)}")
    request = pretrain.PretrainRequest(
        data.train_tokens, data.seq_len, data.val_fraction, data.val_tokens, data.split_seed,
        BLOCK_ROWS,
    )  # fmt: skip
    tables = [table(source, source.text_column) for source in data.sources]
    asked = json.loads(json.dumps([asdict(request), [asdict(one) for one in tables]]))

    def pin() -> list[str | None]:
        return [hub.pin(one, progress).revision for one in tables]

    with resumable(place, {"spec": asked}, pin, progress, mark=STATE) as (work, revisions):
        streams = [
            streamed_text(
                replace(one, revision=revision), source.share, seed=data.split_seed,
                val_fraction=data.val_fraction, progress=progress,
            )
            for source, one, revision in zip(data.sources, tables, revisions, strict=True)
        ]  # fmt: skip
        pretrain.build(request, streams, tokenizer, work, progress, processes=cores())
