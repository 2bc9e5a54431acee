"""Validation: cross-entropy alone, over the same documents for every arm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.data.batches import Batch, Validation
from harness.records.schema import ExpertUse
from harness.train.ranks import ALONE, Ranks
from harness.train.tensors import tensors
from models.lm import LanguageModel

PROBE_ROWS = 8
KEPT_DOCUMENTS = 600
"""Parts of a score that a record keeps, so that it stays some ten kilobytes."""


@dataclass(frozen=True)
class Score:
    """The summed score of a set of tokens."""

    nats: float
    tokens: int
    bytes: int
    document_nats: np.ndarray
    """(documents,) fp64, summed nats of each document's scored tokens."""
    document_bytes: np.ndarray
    """(documents,) int64."""

    @property
    def loss(self) -> float:
        """Mean nats a scored token."""
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float | None:
        """Summed nats / ln 2 / UTF-8 bytes of the scored text; end-of-document adds no bytes.
        None where the bytes are not known."""
        if not self.bytes:
            return None
        return self.nats / math.log(2) / self.bytes


def evaluate(
    model: LanguageModel,
    data: Validation,
    eval_batch: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Score:
    """Score every validation token but the first of each row, which has no context.

    Several processes take turns in the batches, and all get the score of the whole.
    """
    was_training = model.training
    model.eval()
    nats = np.zeros(data.targets.shape, dtype=np.float64)
    done = 0
    for number, batch in enumerate(data.batches(eval_batch)):
        if number % ranks.count == ranks.rank:
            losses = token_losses(model, batch, device)
            nats[done : done + len(losses)] = losses.double().cpu().numpy()
        done += len(batch.tokens)
    ranks.add_up([torch.from_numpy(nats)])  # each value is 0 but in one of them: exact
    model.train(was_training)
    return _score(nats, data)


def _score(nats: np.ndarray, data: Validation) -> Score:
    scored = data.targets >= 0
    # The document of a target is that of the next token.
    documents = np.roll(data.documents, -1, axis=1)[scored]
    sizes = data.token_bytes[data.targets[scored]]
    count = int(data.documents.max()) + 1
    document_bytes = np.bincount(documents, weights=sizes, minlength=count).astype(np.int64)
    document_nats = np.bincount(documents, weights=nats[scored], minlength=count)
    return Score(
        nats=float(nats[scored].sum()),
        tokens=int(scored.sum()),
        bytes=int(sizes.sum()),
        document_nats=document_nats,
        document_bytes=document_bytes,
    )


def by_document(score: Score, data: Validation) -> dict[str, Any]:
    """What an endpoint keeps of each document's score: nats to a hundredth, and scored tokens.

    Beyond `KEPT_DOCUMENTS`, as many runs of neighbours in the data's order stand for documents:
    sums over independent documents are as independent, and neighbours may be of one source.
    """
    # The document of a target is that of the next token, as in `_score`.
    documents = np.roll(data.documents, -1, axis=1)[data.targets >= 0]
    count = len(score.document_nats)
    tokens = np.bincount(documents, minlength=count)
    kept = min(count, KEPT_DOCUMENTS)
    starts = np.arange(kept) * count // kept
    return {
        "document_nats": np.add.reduceat(score.document_nats, starts).round(2).tolist(),
        "document_tokens": np.add.reduceat(tokens, starts).tolist(),
    }


@torch.no_grad()
def expert_use(
    model: LanguageModel,
    data: Validation,
    eval_batch: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> ExpertUse | None:
    """Where the router sends every validation token, layer by layer; None for a dense model."""
    if not model.config.is_moe:
        return None
    was_training = model.training
    model.eval()
    load = torch.zeros(model.config.layers, model.config.experts, dtype=torch.int64)
    entropy = torch.zeros(model.config.layers, dtype=torch.float64)
    for number, batch in enumerate(data.batches(eval_batch)):
        if number % ranks.count != ranks.rank:
            continue
        tokens, _, documents = tensors(batch, device)
        _, routings = model.hidden(tokens, documents)
        load += torch.stack([routing.load for routing in routings]).cpu()
        entropy += torch.stack([routing.entropy for routing in routings]).double().cpu()
    ranks.add_up([load, entropy])
    model.train(was_training)
    return ExpertUse(
        tokens=data.tokens.size,
        load=tuple(tuple(layer) for layer in load.tolist()),
        entropy=tuple((entropy / data.tokens.size).tolist()),
    )


def probe_batch(data: Validation) -> Batch:
    """The fixed batch of a hand-over's proof: the first validation rows."""
    return next(data.batches(PROBE_ROWS))


def probe_loss(model: LanguageModel, batch: Batch, device: torch.device) -> float:
    """The mean loss on a fixed batch: a hand-over's proof."""
    was_training = model.training
    model.eval()
    losses = token_losses(model, batch, device)
    model.train(was_training)
    return float(losses.double().sum() / (batch.targets >= 0).sum())


def token_losses(model: LanguageModel, batch: Batch, device: torch.device) -> torch.Tensor:
    """(rows, seq_len) fp32 on the device: each target's cross-entropy, nats; 0 where ignored."""
    tokens, targets, documents = tensors(batch, device)
    return model.token_losses(tokens, targets, documents)
