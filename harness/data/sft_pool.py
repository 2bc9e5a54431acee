"""One source's conversations in tokens, read once and kept on disk part by part.

So a reading that was cut off goes on where it stood, and ends with the same pool.
What is taken does not depend on how a source cuts its rows into batches.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import left_out
from harness.data.batches import UNREADABLE
from harness.data.chat import ChatFormat, Encoded, uses_tools
from harness.data.left_out import LeftOut, Refused
from harness.data.sealing import Progress
from harness.data.streams import Position, Stream
from harness.data.talks import Talk, talk
from harness.data.units import held_out
from harness.errors import RequestError

PART = 2048
"""Conversations kept in one file."""
BEGUN = "pool-0-00000.npz"
"""Stands in the working folder once something was kept."""
_SAY_EVERY = 5000


@dataclass
class ConversationPool:
    """What was read of one source."""

    train: list[Encoded] = field(default_factory=list)
    val: list[Encoded] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    """What is no conversation, or none that the template takes."""
    rows: int = 0
    """How many rows were read."""
    text_digest: str = ""


class _Kept:
    """The parts of one source's pool in a folder; None keeps nothing."""

    def __init__(self, folder: Path | None, number: int) -> None:
        self.folder, self.number, self.parts = folder, number, 0

    def load(self) -> Iterator[tuple[list[tuple[bool, Encoded]], dict[str, Any]]]:
        """Each part's conversations (whether held out), and where reading stood after it.

        Raises RequestError for a part that is damaged.
        """
        while self.folder is not None and (path := self._path()).is_file():
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    plain = json.loads(arrays["plain"].tobytes())
                    ends = np.cumsum(arrays["lengths"])
                    tokens = np.split(arrays["tokens"], ends[:-1]) if len(ends) else []
                    scored = np.split(arrays["scored"], ends[:-1]) if len(ends) else []
                    sides = arrays["held"].tolist()
            except (*UNREADABLE, KeyError, zipfile.BadZipFile) as error:
                raise RequestError(
                    f"{path} is damaged ({error}); delete {self.folder} and start again"
                ) from None
            self.parts += 1
            yield (
                [
                    (side, Encoded(ids, marks, ()))
                    for side, ids, marks in zip(sides, tokens, scored, strict=True)
                ],
                plain,
            )

    def save(self, found: Sequence[tuple[bool, Encoded]], plain: dict[str, Any]) -> None:
        """One more part, on the disk when this returns. Atomic."""
        if self.folder is None:
            return
        path = self._path()
        self.parts += 1
        tokens = [one.tokens for _, one in found]
        scored = [one.scored for _, one in found]
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                plain=np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8),
                lengths=np.array([len(ids) for ids in tokens], dtype=np.int64),
                tokens=np.concatenate([np.empty(0, np.int32), *tokens]),
                scored=np.concatenate([np.empty(0, bool), *scored]),
                held=np.array([side for side, _ in found], dtype=bool),
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def _path(self) -> Path:
        assert self.folder is not None
        return self.folder / f"pool-{self.number}-{self.parts:05d}.npz"


class _Reading:
    """A pool that grows, and what of it is not kept yet."""

    def __init__(self, source: Stream, kept: _Kept, progress: Progress) -> None:
        self.source, self.kept, self.progress = source, kept, progress
        self.pool = ConversationPool()
        self.fresh: list[tuple[bool, Encoded]] = []
        self.position: Position | None = None
        self.done = False
        self._digest = hashlib.sha256()
        for found, plain in kept.load():
            for side, one in found:
                self._add(side, one)
            self.pool.counts, self.pool.rows = Counter(plain["counts"]), plain.get("rows", 0)
            self.pool.left_out = [LeftOut(*fields) for fields in plain.get("left_out", [])]
            self.position, self.done = plain["position"], plain["done"]
        if self.pool.train or self.pool.val:
            progress(f"going on from {len(self.pool.train):,} conversations of {source.name}")

    def take(self, side: bool, one: Encoded) -> None:
        self._add(side, one)
        self.fresh.append((side, one))
        read = len(self.pool.train) + len(self.pool.val)
        if read % _SAY_EVERY == 0:
            self.progress(f"  {self.source.name}: {read:,} conversations")

    def leave_out(self, place: str, refused: Refused) -> None:
        pool = self.pool
        pool.counts[refused.why] += 1
        if not refused.selection:
            pool.left_out.append(LeftOut(place, refused.why, refused.detail))
            left_out.check(self.source.name, pool.left_out, pool.rows)

    def keep(self, position: Position | None, *, done: bool) -> None:
        pool = self.pool
        plain = {
            "counts": dict(pool.counts), "position": position, "done": done, "rows": pool.rows,
            "left_out": [astuple(entry) for entry in pool.left_out],
        }  # fmt: skip
        self.kept.save(self.fresh, plain)
        self.fresh = []

    def finish(self) -> ConversationPool:
        self.pool.text_digest = self._digest.hexdigest()
        return self.pool

    def _add(self, side: bool, one: Encoded) -> None:
        (self.pool.val if side else self.pool.train).append(one)
        self._digest.update(f"{side:d} {len(one.tokens)} ".encode())
        self._digest.update(np.ascontiguousarray(one.tokens, dtype="<i4").data)


@dataclass(frozen=True)
class Cut:
    """How long a conversation may be, and which ones are held out."""

    seq_len: int
    """Tokens of the longest that is taken whole; a longer one is cut at a turn."""
    val_fraction: float
    """The share of the units that is held out."""
    seed: int
    """Decides which units these are."""
    one: bool = False
    """Whether to read on until one is held out."""


def read(
    source: Stream,
    number: int,
    chat: ChatFormat,
    progress: Progress,
    cut: Cut,
    *,
    enough: float = math.inf,
    work: Path | None,
    part: int = PART,
) -> ConversationPool:
    """Read, encode and split until `enough` are there to train on, or no more.

    With `work`, parts of about `part` conversations are kept there, and those that lie there are
    not read again. Raises RequestError for a source that gives nothing to train on.
    """
    reading = _Reading(source, _Kept(work, number), progress)
    pool = reading.pool
    if not reading.done:
        progress(f"reading {source.name} ({source.origin})")
        for batch in source.batches(reading.position):
            if len(reading.fresh) >= part:
                reading.keep(batch.before, done=False)
            talks = [one if isinstance(one, Talk | Refused) else talk(one) for one in batch.values]
            talks = [_checked(one, chat) for one in talks]
            whole = [one for one in talks if isinstance(one, Talk) and _answered(one)]
            usable = chat.encode_each([one.messages for one in whole], [one.given for one in whole])
            for one, place in zip(talks, batch.places, strict=True):
                if len(pool.train) >= enough and (pool.val or not cut.one):
                    break
                pool.rows += 1
                if isinstance(one, Refused):
                    reading.leave_out(place, one)
                elif not _answered(one):
                    pool.counts["without an answer"] += 1
                else:
                    found = _fit(one, next(usable), cut.seq_len, chat, pool.counts)
                    if isinstance(found, Encoded):
                        held = held_out(cut.seed, one.unit, cut.val_fraction)
                        if held or len(pool.train) < enough:
                            reading.take(held, found)
                    elif found is not None:
                        reading.leave_out(place, found)
            if len(pool.train) >= enough and (pool.val or not cut.one):
                break
        reading.keep(None, done=True)
    if not pool.train:
        why = f": {left_out.reasons(pool.counts)}" if pool.counts else ""
        if pool.left_out:
            why += f"; {left_out.first(pool.left_out)}"
        raise RequestError(
            f"source '{source.name}' gives no conversation to train on, of {pool.rows:,} rows{why}"
        )
    if pool.left_out:
        progress(
            f"  {source.name}: {len(pool.left_out):,} rows cannot be used; {left_out.FILE} names "
            "them"
        )
    return reading.finish()


def _answered(talk: Talk) -> bool:
    return any(message["role"] == "assistant" for message in talk.messages)


def _checked(one: Talk | Refused, chat: ChatFormat) -> Talk | Refused:
    """With those fields alone that the template has by their names; or why it cannot be used."""
    if isinstance(one, Refused):
        return one
    if why := chat.unread(one.messages, one.given):
        return Refused(why, selection=True)
    always = ("role", "content", "reasoning_content")
    messages = tuple(
        {k: v for k, v in m.items() if k in always or chat.template.reads(k)} for m in one.messages
    )
    return Talk(one.unit, messages, one.given)


def _not_taken(talk: Talk, error: RequestError) -> Refused:
    """Of conversations with tools there may be many, and most templates know none."""
    if uses_tools(talk.messages):
        why = " ".join(str(error).split("chat template of ")[-1].split(" ")[1:]) or str(error)
        return Refused(f"with tools, not taken by the chat template: {why}", selection=True)
    return Refused("not taken by the chat template", str(error))


def _fit(
    talk: Talk,
    whole: Encoded | RequestError,
    limit: int,
    chat: ChatFormat,
    counts: Counter[str],
) -> Encoded | Refused | None:
    """A conversation of at most `limit` tokens: itself, or its first turns, or None; or why the
    template does not take it."""
    if isinstance(whole, RequestError):
        return _not_taken(talk, whole)
    if not whole.targets:
        return Refused("with nothing of the assistant's that the template writes")
    if len(whole.tokens) <= limit:
        return whole
    answers = [i for i, message in enumerate(talk.messages) if message["role"] == "assistant"]
    for last, end in reversed(list(zip(answers, whole.turn_ends, strict=False))):
        if end > limit:
            continue
        try:
            shorter = chat.encode(talk.messages[: last + 1], talk.given)
        except RequestError as error:
            return _not_taken(talk, error)
        if len(shorter.tokens) <= limit:
            counts["truncated at a turn"] += 1
            return shorter
    counts["too long and dropped"] += 1
    return None
