"""The pretraining mix: documents of several streams by share of tokens, in rows on disk.

Memory stays flat: rows are written block by block, and the state with each block, so that a
preparation that was cut off goes on and ends with the same bytes, whatever the number of
processes. Validation is held out by document.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from harness.config import DataConfig, Source
from harness.data import given, left_out, pretrain_state
from harness.data.arrow import close_dataset, close_split, write_rows, write_split
from harness.data.manifest import Prepared
from harness.data.mix import furthest_behind, shuffled
from harness.data.packing import fill
from harness.data.pretrain_state import SourceState, State
from harness.data.sealing import DATA, Counts, Progress, Side, score, use, write_manifest
from harness.data.streams import Stream
from harness.data.tokenize_pool import AHEAD, Reader, tokenizing
from harness.data.units import held_out
from harness.errors import RequestError

_SAY_EVERY = 5.0
"""Seconds between lines of progress."""


@dataclass(frozen=True)
class PretrainRequest:
    """What is asked for; all of it decides the bytes."""

    target_tokens: int
    seq_len: int
    val_fraction: float
    val_tokens: int
    """Validation tokens at most."""
    seed: int
    block_rows: int
    """Rows of one file: shuffled together, and the state is saved after each."""


class _Mix:
    """The loop: whose turn it is, what is held out, when a block is full."""

    def __init__(
        self,
        request: PretrainRequest,
        sources: list[Stream],
        state: State,
        sizes: np.ndarray,
        folder: Path,
        work: Path,
        progress: Progress,
    ) -> None:
        self.request, self.sources, self.state = request, sources, state
        self.sizes, self.folder, self.work, self.progress = sizes, folder, work, progress
        self.train = folder / "dataset" / "train"
        self.carried = sum(len(ids) for _, ids in state.carry)
        self.said, self.began_at = 0.0, state.taken
        self.started: float | None = None
        """When the first document was there: starting processes and streams is not counted."""

    def run(self, readers: list[Reader]) -> None:
        """Until the target is reached or a source has no more."""
        request, state = self.request, self.state
        while state.taken < request.target_tokens and not state.exhausted:
            turn = furthest_behind(
                [mine.taken for mine in state.sources], [source.share for source in self.sources]
            )
            document = readers[turn].next()
            if document is None:
                state.exhausted = True
                self.progress(
                    f"{self.sources[turn].name} has no more documents: the mix ends at "
                    f"{state.taken:,} tokens"
                )
                break
            if self.started is None:
                self.started, self.began_at = time.monotonic(), state.taken
            self._take(turn, *document)
            self._say()
        self._say(last=True)

    def _take(self, turn: int, text: str, tokens: np.ndarray) -> None:
        source, mine = self.sources[turn], self.state.sources[turn]
        own = hashlib.sha256(text.encode()).hexdigest()
        mine.text_digest = hashlib.sha256(f"{mine.text_digest}{own}".encode()).hexdigest()
        if source.held_out(text) if source.held_out else self._held_out(own):
            mine.held_documents += 1
            if mine.val_taken + len(tokens) <= source.share * self.request.val_tokens:
                mine.val_taken += len(tokens)
                self.state.val.append((turn, tokens))
            return
        mine.taken += len(tokens)
        mine.documents += 1
        self.state.carry.append((turn, tokens))
        self.carried += len(tokens)
        block = self.request.block_rows * self.request.seq_len
        while self.carried >= block and self.state.taken < self.request.target_tokens:
            self._write(self.request.block_rows)
            self.state.save(self.work)

    def _held_out(self, unit: str) -> bool:
        return held_out(self.request.seed, unit, self.request.val_fraction)

    def _write(self, rows: int) -> None:
        """The first rows of what is carried, shuffled among themselves, as one file."""
        wanted = rows * self.request.seq_len
        parts: list[np.ndarray] = []
        carry = deque(self.state.carry)
        left = wanted
        while left:
            turn, ids = carry.popleft()
            part = ids[:left]
            if len(part) < len(ids):
                carry.appendleft((turn, ids[left:]))
            self.state.sources[turn].written_tokens += len(part)
            self.state.sources[turn].written_bytes += int(self.sizes[part].sum(dtype=np.int64))
            parts.append(part)
            left -= len(part)
        self.state.carry = list(carry)
        self.carried -= wanted
        tokens = np.concatenate(parts)
        self.state.counts += np.bincount(tokens, minlength=len(self.sizes))
        order = shuffled(rows, self.request.seed, 1 + self.state.blocks)
        block = tokens.reshape(rows, self.request.seq_len)[order]
        write_rows(self.train / f"data-{self.state.blocks:05d}.arrow", {"input_ids": block})
        self.state.blocks += 1

    def finish(self) -> int:
        """Write the last rows; returns the tokens that do not fill one. Raises RequestError."""
        seq_len = self.request.seq_len
        written = sum(source.written_tokens for source in self.state.sources)
        left = min(self.state.taken, self.request.target_tokens) - written
        while left >= seq_len:
            rows = min(left // seq_len, self.request.block_rows)
            self._write(rows)
            left -= rows * seq_len
        if not self.state.blocks:
            why = ""
            if gone := Counter(e.why for mine in self.state.sources for e in mine.entries):
                why = f"; rows that cannot be used: {left_out.reasons(gone)}"
            raise RequestError(
                f"{left:,} training tokens are fewer than one sequence of {seq_len}{why}"
            )
        return self.carried

    def _say(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self.started is None or (now - self.said < _SAY_EVERY and not last):
            return
        self.said = now
        taken, target = self.state.taken, self.request.target_tokens
        seconds = now - self.started
        # Texts read ahead are there at once: a rate needs a second or more to mean anything.
        rate = f" {(taken - self.began_at) / seconds:,.0f} tokens/s;" if seconds >= 1.0 else ""
        shares = ", ".join(
            f"{source.name} {100 * mine.taken / max(taken, 1):.2f} %"
            for source, mine in zip(self.sources, self.state.sources, strict=True)
        )
        self.progress(
            f"{taken:,} of {target:,} tokens ({100 * taken / target:.0f} %),{rate} {shares}"
        )


def build(
    request: PretrainRequest,
    sources: list[Stream],
    tokenizer: Path,
    work: Path,
    progress: Progress,
    *,
    processes: int,
) -> Prepared:
    """Fill `work / DATA`, going on from the state that lies in `work`, if any.

    Raises RequestError for sources that cannot be read or give too little; what is done so far
    stays for the next try.
    """
    folder = work / DATA
    (folder / "dataset" / "train").mkdir(parents=True, exist_ok=True)
    sizes = given.install(tokenizer, folder)
    state = pretrain_state.load(work)
    if state is None:
        state = State([SourceState() for _ in sources], np.zeros(len(sizes), dtype=np.int64))
    else:
        progress(f"going on from {state.taken:,} tokens")
    mix = _Mix(request, sources, state, sizes, folder, work, progress)
    with tokenizing(folder, processes) as pool:
        ahead = AHEAD * processes if processes > 1 else 1
        readers = [
            Reader(source, mine, pool, ahead)
            for source, mine in zip(sources, state.sources, strict=True)
        ]
        mix.run(readers)
    dropped = mix.finish()
    for late in (folder / "dataset" / "train").glob("*.tmp"):
        late.unlink()
    return _seal(mix, dropped)


def _seal(mix: _Mix, dropped: int) -> Prepared:
    request, state, sizes, folder = mix.request, mix.state, mix.sizes, mix.folder
    mix.progress("writing validation and the manifest")
    tokens, documents, val_dropped = _pack_val(state, request)
    val = folder / "dataset" / "validation"
    shutil.rmtree(val, ignore_errors=True)  # of a try that was cut off while it wrote
    write_split(val, {"input_ids": tokens, "documents": documents})
    close_split(mix.train, ["input_ids"], request.seq_len, _names_digest(mix.train))
    close_dataset(folder / "dataset", ["train", "validation"])
    owners = np.array([source for source, _ in state.val])
    total = sum(source.written_tokens for source in state.sources)
    uses = [
        use(
            source,
            mine.written_tokens / total,
            mine.text_digest,
            Side(mine.documents, mine.written_tokens, mine.written_bytes),
            Side.of(tokens, documents, owners, i, sizes),
        )
        for i, (source, mine) in enumerate(zip(mix.sources, state.sources, strict=True))
    ]
    listed = [
        (source.name, mine.entries) for source, mine in zip(mix.sources, state.sources, strict=True)
    ]
    left_out.write(folder, listed)
    for name, entries in listed:
        if entries:
            mix.progress(f"{name}: {len(entries):,} rows are no text; {left_out.FILE} names them")
    return write_manifest(
        folder,
        _spec(request, mix.sources, len(sizes)),
        uses,
        Counts(
            vocab_size=len(sizes),
            val_documents=len(np.unique(documents)),
            scored=score(tokens[:, 1:], sizes, state.counts),
            dropped=(dropped, val_dropped),
        ),
        preparation={
            "kind": "pretrain",
            "shares": "by token",
            "asked": asdict(request),
            "exhausted": state.exhausted,
            "sources": [
                {
                    "name": source.name, "origin": source.origin, "column": source.column,
                    "share": source.share, "documents": mine.documents, "tokens": mine.taken,
                    "held_out_documents": mine.held_documents, "rows_without_text": mine.empty,
                    **({"rows_left_out": len(mine.left_out)} if mine.left_out else {}),
                }
                for source, mine in zip(mix.sources, state.sources, strict=True)
            ],
        },
    )  # fmt: skip


def _pack_val(state: State, request: PretrainRequest) -> tuple[np.ndarray, np.ndarray, int]:
    tokens, documents, dropped = fill([ids for _, ids in state.val], request.seq_len)
    if not len(tokens):
        raise RequestError(
            f"the held-out documents give {dropped:,} validation tokens, fewer than one sequence "
            f"of {request.seq_len}: raise --val-fraction ({request.val_fraction:g}), --val-tokens "
            f"({request.val_tokens:,}) or --target-tokens"
        )
    return tokens, documents, dropped


def _spec(request: PretrainRequest, sources: list[Stream], vocab_size: int) -> DataConfig:
    return DataConfig(
        sources=tuple(
            Source(name=s.name, kind="files", share=s.share, paths=(s.origin,),
                   text_column=s.column)
            for s in sources
        ),
        seq_len=request.seq_len,
        vocab_size=vocab_size,
        train_tokens=request.target_tokens,
        val_fraction=request.val_fraction,
        val_tokens=request.val_tokens,
        split_seed=request.seed,
    )  # fmt: skip


def _names_digest(folder: Path) -> str:
    """Of names and sizes: the fingerprint for `datasets`; the manifest has the real digest."""
    listing = "".join(f"{p.name} {p.stat().st_size}\n" for p in sorted(folder.glob("*.arrow")))
    return hashlib.sha256(listing.encode()).hexdigest()
