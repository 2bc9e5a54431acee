"""Where the arms' horizons ended: one row an (arm, seed, horizon)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.evidence.query import counts
from harness.records.schema import Record, SecondScore
from harness.records.store import path_of


@dataclass(frozen=True, slots=True)
class Reached:
    """One (arm, seed, horizon) that an `ok` run reached."""

    path: str
    arm: str
    seed: int
    horizon: str
    update: int
    tokens: int
    flops: float | None
    seconds: float
    val_loss: float
    bits_per_byte: float | None
    epochs: float | None
    unigram: float | None
    unigram_bits: float | None
    created: str
    document_nats: tuple[float, ...] | None = None
    document_tokens: tuple[int, ...] | None = None
    second: SecondScore | None = None


def ends(records: Iterable[Record]) -> tuple[Reached, ...]:
    """The newest of each (arm, seed, horizon), of first repeats, by arm, horizon and seed.

    Where a recipe moved a horizon without touching a configuration, only the newest budget stays.
    """
    found = sorted(
        (one for r in records if counts(r) for one in _ends(r)),
        key=lambda one: (one.created, one.path),
    )
    budget = {(one.arm, one.horizon): one.update for one in found}
    newest = {
        (one.arm, one.horizon, one.seed): one
        for one in found
        if one.update == budget[one.arm, one.horizon]
    }
    return tuple(newest[key] for key in sorted(newest))


def _ends(record: Record) -> Iterable[Reached]:
    data = record.data
    for end in record.ends:
        yield Reached(
            path=path_of(record),
            arm=record.arm,
            seed=record.seed,
            horizon=end.horizon,
            update=end.update,
            tokens=end.tokens,
            flops=end.flops,
            seconds=end.seconds,
            val_loss=end.val_loss,
            bits_per_byte=end.bits_per_byte,
            epochs=data.epochs if data else None,
            unigram=data.unigram_val_loss if data else None,
            unigram_bits=data.unigram_bits_per_byte if data else None,
            created=record.created,
            document_nats=end.document_nats,
            document_tokens=end.document_tokens,
            second=end.second,
        )
