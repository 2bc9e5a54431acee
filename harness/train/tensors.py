"""Batches as tensors on a device: tokens, targets and, where they are masked, documents."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.data.batches import Batch


def tensors(
    batch: Batch, device: torch.device, rows: slice = slice(None)
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(tokens, targets, documents) of the rows asked for, each (rows, seq) int64; documents None
    where the batch has none."""
    tokens = torch.from_numpy(batch.tokens[rows]).to(device)
    targets = torch.from_numpy(batch.targets[rows]).to(device)
    if batch.documents is None:
        return tokens, targets, None
    return tokens, targets, torch.from_numpy(batch.documents[rows]).to(device)
