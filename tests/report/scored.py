"""Synthetic evaluations."""

from __future__ import annotations

import math
from typing import Any

from harness.records.evaluation import Evaluation, Subject, Unigram
from harness.records.schema import Code


def scored(
    name: str,
    *,
    nats: float = 70.0,
    kind: str = "asset",
    digest: str = "a" * 64,
    unigram: float | None = None,
    **changes: Any,
) -> Evaluation:
    """A model's score on two documents of 100 bytes together."""
    of = Unigram(nats=unigram * 100 * math.log(2), bits_per_byte=unigram, data_digest="d" * 64) \
        if unigram else None  # fmt: skip
    fields: dict[str, Any] = dict(
        schema_version=1, created="2026-11-23T00:00:00Z",
        subject=Subject(
            kind=kind, name=name, digest=digest, scale=None,  # type: ignore[arg-type]
            detail="a wheel, dequantized" if kind == "asset" else "",
            total_parameters=1_500_000, active_parameters=1_500_000,
        ),
        text="prose", text_digest="0000111122223333", tokenizer_digest="f" * 64, documents=2,
        tokens=40, bytes=100, nats=nats, bits_per_byte=nats / math.log(2) / 100,
        interval=(0.9, 1.1), resamples=10_000, context=64, dtype="bf16", unigram=of,
        document_nats=(nats / 2, nats / 2), document_bytes=(60, 40), device_class="Some CPU",
        software={"python": "3.11"}, code=Code(source_digest="c", commit=None, dirty=None),
        command=f"smol eval {name} --text prose --record",
    )  # fmt: skip
    return Evaluation(**(fields | changes))
