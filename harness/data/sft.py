"""The fine-tuning mix: conversations of several sources by share, packed whole into sequences.

A source that is too small for its share repeats, up to `max_epochs`. Loss stands on the
assistant's tokens only. Everything is a function of the request and the conversations' text.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness.config import DataConfig, Source
from harness.data import ends, given, left_out, sft_pool
from harness.data.arrow import close_dataset, write_split
from harness.data.batches import IGNORED
from harness.data.chat import ChatFormat, Encoded
from harness.data.manifest import Prepared
from harness.data.mix import interleave, shuffled
from harness.data.packing import PADDING, Rows, pack
from harness.data.sealing import Counts, Progress, Side, score, use, write_manifest
from harness.data.sft_pool import ConversationPool, Cut
from harness.data.streams import Stream
from harness.errors import RequestError


@dataclass(frozen=True)
class SftRequest:
    """What is asked for."""

    conversations: int | None
    """How many to train on, repeats counted; None is what one epoch of the first source allows."""
    max_epochs: int
    seq_len: int
    val_fraction: float
    seed: int
    val_tokens: int | None = None
    """Held-out tokens at most, in whole conversations by share; None keeps all."""
    part_conversations: int = sft_pool.PART
    """Kept in one file while reading."""


def request_of(data: DataConfig) -> SftRequest:
    """What a specification of conversations asks for."""
    return SftRequest(
        data.conversations, data.max_epochs, data.seq_len, data.val_fraction, data.split_seed,
        val_tokens=data.val_tokens,
    )  # fmt: skip


def build(
    request: SftRequest,
    sources: Sequence[Stream],
    tokenizer: Path,
    folder: Path,
    progress: Progress,
    spec: DataConfig | None = None,
    work: Path | None = None,
) -> Prepared:
    """Write the prepared mix into `folder`; `spec` is what asked for it, where something did.

    With `work`, what was read is kept there: cut off and called again, it ends with the same bytes.
    Raises RequestError for sources that give too little, or a tokenizer without ChatML.
    """
    total = sum(source.share for source in sources)
    if abs(total - 1.0) > 1e-6:
        raise RequestError(f"the shares of the conversations sum to {total:g}, not 1")
    if folder.exists():
        shutil.rmtree(folder)  # of a try that was cut off while it wrote
    folder.mkdir()
    sizes = given.install(tokenizer, folder)
    end = ends.separator(tokenizer)
    chat = ChatFormat(tokenizer)  # where people know it, should its template be at fault
    pools = _read(request, sources, chat, progress, work)
    taken = _take(request, sources, pools)
    held = _held(request, sources, pools)
    progress("packing whole conversations")
    train, train_owner = pack([(s, e) for s, many in enumerate(taken) for e in many],
                               request.seq_len, end)  # fmt: skip
    val, val_owner = pack([(s, e) for s, many in enumerate(held) for e in many],
                           request.seq_len, end)  # fmt: skip
    progress(f"writing {len(train.tokens):,} training and {len(val.tokens):,} validation sequences")
    write_split(folder / "dataset" / "train", train.columns())
    write_split(folder / "dataset" / "validation", val.columns())
    close_dataset(folder / "dataset", ["train", "validation"])
    total = sum(map(len, taken))
    uses = [
        use(
            source,
            len(taken[i]) / total,
            pool.text_digest,
            Side.of(train.tokens, train.documents, train_owner, i, sizes),
            Side.of(val.tokens, val.documents, val_owner, i, sizes),
        )
        for i, (source, pool) in enumerate(zip(sources, pools, strict=True))
    ]
    left_out.write(folder, [(s.name, p.left_out) for s, p in zip(sources, pools, strict=True)])
    targets = val.labels[val.labels != IGNORED]
    learnt = train.labels[train.labels != IGNORED]
    return write_manifest(
        folder,
        spec or _spec(request, sources, len(sizes)),
        uses,
        Counts(
            vocab_size=len(sizes),
            val_documents=len(val_owner),
            scored=score(targets, sizes, np.bincount(learnt, minlength=len(sizes))),
        ),
        preparation=_preparation(request, sources, pools, (taken, held), train, val),
    )


def _read(
    request: SftRequest,
    sources: Sequence[Stream],
    chat: ChatFormat,
    progress: Progress,
    work: Path | None,
) -> list[ConversationPool]:
    """Of each source, what one epoch needs, or all that there is."""
    pools: list[ConversationPool] = []
    cut = Cut(request.seq_len, request.val_fraction, request.seed)
    for number, source in enumerate(sources):
        enough = math.inf
        if request.conversations is not None:
            # One even where none is wanted, so that only a source without any is refused.
            enough = max(1, round(source.share * request.conversations))
        # Few conversations may all fall on one side; the last source then reads on.
        last = number == len(sources) - 1 and not any(pool.val for pool in pools)
        pools.append(
            sft_pool.read(
                source, number, chat, progress, replace(cut, one=last), enough=enough, work=work,
                part=request.part_conversations,
            )
        )  # fmt: skip
    return pools


def _take(
    request: SftRequest, sources: Sequence[Stream], pools: Sequence[ConversationPool]
) -> list[list[Encoded]]:
    """Of each source, the conversations to train on, repeated by whole shuffled epochs."""
    if request.conversations is None:
        total = len(pools[0].train) / sources[0].share
    else:
        total = request.conversations
    taken = []
    for i, (source, pool) in enumerate(zip(sources, pools, strict=True)):
        wanted = min(round(source.share * total), request.max_epochs * len(pool.train))
        taken.append(list(islice(_epochs(pool.train, request.seed, i), wanted)))
    if not any(taken):
        raise RequestError("no conversation is left to train on: ask for more --conversations")
    return taken


def _held(
    request: SftRequest, sources: Sequence[Stream], pools: Sequence[ConversationPool]
) -> list[list[Encoded]]:
    """Of each source, the conversations to validate on: all that are held out, or as many by
    share as `val_tokens` allow."""
    if request.val_tokens is None:
        return [pool.val for pool in pools]
    mixed = interleave(
        [
            iter([pool.val[j] for j in shuffled(len(pool.val), request.seed, i)])
            for i, pool in enumerate(pools)
        ],
        [source.share for source in sources],
        lambda one: len(one.tokens),
    )
    held: list[list[Encoded]] = [[] for _ in pools]
    left = request.val_tokens
    for i, one in mixed:
        left -= len(one.tokens)
        if left < 0:
            break
        held[i].append(one)
    return held


def _epochs(items: Sequence[Encoded], seed: int, source: int) -> Iterator[Encoded]:
    epoch = 0
    while True:
        for i in shuffled(len(items), seed + epoch, source):
            yield items[i]
        epoch += 1


def _spec(request: SftRequest, sources: Sequence[Stream], vocab_size: int) -> DataConfig:
    return DataConfig(
        sources=tuple(
            Source(name=s.name, kind="files", share=s.share, paths=(s.origin,),
                   text_column="messages")
            for s in sources
        ),
        seq_len=request.seq_len,
        vocab_size=vocab_size,
        train_tokens=None,
        val_fraction=request.val_fraction,
        val_tokens=2**31 - 1,  # all that is held out
        split_seed=request.seed,
    )  # fmt: skip


def _preparation(
    request: SftRequest,
    sources: Sequence[Stream],
    pools: Sequence[ConversationPool],
    chosen: tuple[Sequence[Sequence[Encoded]], Sequence[Sequence[Encoded]]],
    train: Rows,
    val: Rows,
) -> dict[str, Any]:
    taken, held = chosen
    total = sum(map(len, taken))
    return {
        "kind": "sft",
        "format": "ChatML, loss on the assistant's tokens and its end of turn",
        "shares": "by conversation",
        "asked": {"conversations": request.conversations, "max_epochs": request.max_epochs},
        "conversations": total,
        "target_tokens": int((train.labels != IGNORED).sum()),
        "padding_share": round(float((train.documents == PADDING).mean()), 6),
        "val_target_tokens": int((val.labels != IGNORED).sum()),
        "sources": [
            {
                "name": source.name,
                "origin": source.origin,
                "share": source.share,
                "achieved_share": round(len(many) / total, 6),
                "conversations": len(many),
                "distinct": len(pool.train),
                "epochs": round(len(many) / len(pool.train), 4),
                "validation": len(out),
                "left_out": {name: n for name, n in sorted(pool.counts.items()) if n},
            }
            for source, pool, many, out in zip(sources, pools, taken, held, strict=True)
        ],
    }


def describe(preparation: dict[str, Any]) -> str:
    """A few lines for people: what each source gave, how often, and what was left out."""
    lines = [
        f"{preparation['conversations']:,} conversations, {preparation['target_tokens']:,} target "
        f"tokens, {100 * preparation['padding_share']:.1f} % padding"
    ]
    for source in preparation["sources"]:
        out = ", ".join(f"{n:,} {name}" for name, n in source["left_out"].items())
        lines.append(
            f"  {source['name']}: {source['conversations']:,} conversations "
            f"({source['epochs']:.2f} epochs of {source['distinct']:,}), "
            f"{100 * source['achieved_share']:.2f} % (asked {100 * source['share']:g} %), "
            f"{source['validation']:,} held out" + (f"; {out}" if out else "")
        )
    return "\n".join(lines)
