"""Batches as tensors on a device: tokens, targets and, where they are masked, documents."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.data.batches import Batch

Tensors = tuple[Tensor, Tensor, Tensor | None]


def tensors(batch: Batch, device: torch.device, rows: slice = slice(None)) -> Tensors:
    """(tokens, targets, documents) of the rows asked for, each (rows, seq) int64; documents None
    where the batch has none.

    To a GPU they go from pinned memory, so that the host does not wait until they are there.
    """

    def moved(array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array[rows])
        if device.type == "cuda":
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)

    documents = None if batch.documents is None else moved(batch.documents)
    return moved(batch.tokens), moved(batch.targets), documents


def cut(whole: Tensors, rows: slice) -> Tensors:
    """Some rows of what is on the device already."""
    tokens, targets, documents = whole
    return tokens[rows], targets[rows], None if documents is None else documents[rows]
