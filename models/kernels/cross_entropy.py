"""Output head and cross-entropy in one, without ever holding all logits.

The gradient is computed in the forward pass, chunk by chunk, while the chunk's logits are there
(Liger Kernel, arXiv 2410.10989, section 3.2; Cut Your Losses, arXiv 2411.09009, is the same
idea taken further). May not know of models: it sees hidden states, a weight and targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

LOGITS_BYTES = 128 * 2**20
"""Bytes of logits held at once, in the compute dtype and in fp32 together. Smaller chunks cost
bandwidth, since each re-reads the whole weight; larger ones only memory."""

IGNORED = -100
"""The target of a position that is not scored."""


def linear_cross_entropy_sum(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Sum over scored rows of -log softmax(hidden weightᵀ)[target]: a scalar, nats.

    hidden (n, width) in the compute dtype; weight (vocab, width) in the masters' dtype; targets
    (n,) int64, -100 where ignored. The sum is fp32 (fp64 where hidden is). The weight's gradient
    is accumulated over chunks in its own dtype.
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        return _LinearCrossEntropySum.apply(hidden, weight, targets)
    return linear_cross_entropy(hidden, weight, targets).sum()


@torch.no_grad()
def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Row by row, (n,) fp32 (fp64 where hidden is), 0 where ignored; no gradient."""
    losses = hidden.new_zeros(hidden.shape[0], dtype=_wide(hidden))
    for rows, loss, _ in _chunks(hidden, weight.to(hidden.dtype), targets):
        losses[rows] = loss
    return losses


def _wide(hidden: Tensor) -> torch.dtype:
    return torch.promote_types(hidden.dtype, torch.float32)


def _chunks(
    hidden: Tensor, weight: Tensor, targets: Tensor
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Chunk by chunk: its rows, their losses, and their probabilities (rows, vocab) in a buffer
    that the next chunk overwrites."""
    vocab, wide = weight.shape[0], _wide(hidden)
    bytes_a_row = vocab * (wide.itemsize + (hidden.element_size() if hidden.dtype != wide else 0))
    size = max(1, min(hidden.shape[0], LOGITS_BYTES // bytes_a_row))
    buffer = hidden.new_empty(size, vocab, dtype=wide)
    narrow = buffer if hidden.dtype == wide else hidden.new_empty(size, vocab)
    for start in range(0, hidden.shape[0], size):
        rows = slice(start, min(start + size, hidden.shape[0]))
        count = rows.stop - start
        torch.mm(hidden[rows], weight.T, out=narrow[:count])
        logits = buffer[:count].copy_(narrow[:count]) if narrow is not buffer else buffer[:count]
        scored = targets[rows] != IGNORED
        at_target = logits.gather(1, targets[rows].clamp(min=0)[:, None])[:, 0]
        largest = logits.amax(1)
        probabilities = logits.sub_(largest[:, None]).exp_()
        total = probabilities.sum(1)
        probabilities.div_(total[:, None])
        loss = torch.where(scored, largest + total.log() - at_target, 0.0)
        yield rows, loss, probabilities


class _LinearCrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        cast = weight.to(hidden.dtype)
        total = hidden.new_zeros((), dtype=_wide(hidden))
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for rows, loss, probabilities in _chunks(hidden, cast, targets):
            total += loss.sum()
            # d loss / d logits = softmax - one-hot(target), and nothing where ignored.
            scored = (targets[rows] != IGNORED)[:, None]
            one = scored.to(probabilities.dtype)
            grad = probabilities.mul_(one)
            grad.scatter_add_(1, targets[rows].clamp(min=0)[:, None], -one)
            grad = grad.to(hidden.dtype)
            if grad_hidden is not None:
                torch.mm(grad, cast, out=grad_hidden[rows])
            if grad_weight is not None:
                grad_weight += torch.mm(grad.T, hidden[rows])
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return _scaled(grad_hidden, upstream), _scaled(grad_weight, upstream), None


def _scaled(grad: Tensor | None, upstream: Tensor) -> Tensor | None:
    # In upstream's dtype: 1 / tokens rounded to bf16 would be a bias of up to 0.4 %.
    return None if grad is None else (grad.to(upstream.dtype) * upstream).to(grad.dtype)
