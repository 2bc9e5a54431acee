"""Scoring whole documents: each from its own start, every token once, whatever the tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from harness.data.batches import IGNORED
from harness.train.evaluate import Score
from models.lm import LanguageModel

_TOKENS_AT_ONCE = 4096
"""Padding included; a single window may be longer."""


def windows(tokens: np.ndarray, start: int, context: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(inputs, targets) of a document that follows the token `start`.

    `[start] + tokens` is cut into stretches of `context` inputs, without overlap: the first token
    of a stretch has one token before it, the last has `context`. Every token is a target once.
    """
    whole = np.concatenate([[start], tokens]).astype(np.int64)
    return [
        (whole[i : min(i + context, len(tokens))], whole[i + 1 : i + 1 + context])
        for i in range(0, len(tokens), context)
    ]


@torch.no_grad()
def score_documents(
    model: LanguageModel,
    documents: Sequence[np.ndarray],
    sizes: Sequence[int],
    *,
    start: int,
    context: int,
    device: torch.device,
    progress: Callable[[float], None] = lambda share: None,
) -> Score:
    """The score of documents (token ids, without a start or an end token) of `sizes` UTF-8 bytes.

    Windows of like length are computed together; padding stands behind them, where a causal model
    does not look. `progress` is told the share of windows done. Raises ValueError for a context
    that the model does not have.
    """
    if not 1 <= context <= model.config.max_seq_len:
        raise ValueError(f"a context of {context} is outside 1..{model.config.max_seq_len}")
    cut = [
        (number, *window)
        for number, tokens in enumerate(documents)
        for window in windows(tokens, start, context)
    ]
    cut.sort(key=lambda entry: -len(entry[1]))
    count = len(cut)
    nats = np.zeros(len(documents), dtype=np.float64)
    was_training = model.training
    model.eval()
    while cut:
        rows = max(1, _TOKENS_AT_ONCE // len(cut[0][1]))
        batch, cut = cut[:rows], cut[rows:]
        inputs = np.zeros((len(batch), len(batch[0][1])), dtype=np.int64)
        targets = np.full_like(inputs, IGNORED)
        for row, (_, tokens, following) in enumerate(batch):
            inputs[row, : len(tokens)] = tokens
            targets[row, : len(tokens)] = following
        losses = model.token_losses(
            torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
        )
        sums = losses.double().sum(dim=1).tolist()
        for (number, _, _), loss in zip(batch, sums, strict=True):
            nats[number] += loss
        progress(1.0 - len(cut) / count)
    model.train(was_training)
    return Score(
        nats=float(nats.sum()),
        tokens=sum(len(tokens) for tokens in documents),
        bytes=sum(sizes),
        document_nats=nats,
        document_bytes=np.asarray(sizes, dtype=np.int64),
    )
