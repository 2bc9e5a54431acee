"""Output head and cross-entropy in one, without ever holding all logits.

The gradient is computed in the forward pass, chunk by chunk, while the chunk's logits are there
(Liger Kernel, arXiv 2410.10989, section 3.2; Cut Your Losses, arXiv 2411.09009, is the same
idea taken further). May not know of models: it sees hidden states, a weight and targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.dtypes import reduction_dtype

LOGITS_BYTES = {"cpu": 32 * 2**20, "cuda": 128 * 2**20}
"""Bytes of logits held at once, in the compute dtype. Each chunk re-reads the whole weight and adds
to its whole gradient. On a CPU, at 49,152 x 576, chunks of 24 to 96 MB were measured equally fast;
a GPU's cost falls up to about 1,000 tokens, which is 100 MB (modelled)."""

CACHED_BYTES = 6 * 2**20
"""How many bytes of fp32 logits are worked on at once on a CPU: they pass five times through the
cache, not through memory. On a GPU the whole chunk is one piece, since every piece costs a
launch."""

WEIGHT_ROWS = 8192
"""How many rows of the weight's gradient one product makes, so that the sum with what earlier
chunks gave happens in the cache too."""

ROUND = 64
"""Rows of a GPU's chunk are a multiple of this: whole tiles of its matrix products."""

IGNORED = -100
"""The target of a position that is not scored."""


def linear_cross_entropy_sum(
    hidden: Tensor, weight: Tensor, targets: Tensor, narrow: Tensor | None = None
) -> Tensor:
    """Sum over scored rows of -log softmax(hidden weightᵀ)[target]: a scalar, nats.

    hidden (n, width) in the compute dtype; weight (vocab, width) in the masters' dtype; targets
    (n,) int64, -100 where ignored. The sum is fp32 (fp64 where hidden is). The weight's gradient
    is accumulated over chunks in its own dtype. `narrow` is the weight in the compute dtype, where
    somebody holds it already. The gradient can be taken once.
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        return _LinearCrossEntropySum.apply(hidden, weight, targets, narrow)
    return linear_cross_entropy(hidden, weight, targets).sum()


@torch.no_grad()
def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Row by row, (n,) fp32 (fp64 where hidden is), 0 where ignored; no gradient."""
    losses = hidden.new_zeros(hidden.shape[0], dtype=reduction_dtype(hidden.dtype))
    for chunk in _chunks(hidden, weight.to(hidden.dtype), targets):
        losses[chunk.rows] = chunk.losses
    return losses


def rows_a_chunk(hidden: Tensor, vocab: int) -> int:
    """How many rows of logits are held at once: on a CPU what the budget holds; on a GPU as much
    in even chunks, or the last would read the whole weight for a few rows."""
    rows = hidden.shape[0]
    budget = LOGITS_BYTES.get(hidden.device.type, LOGITS_BYTES["cuda"])
    most = max(1, min(rows, budget // (vocab * hidden.element_size())))
    return most if hidden.device.type == "cpu" else even(rows, most)


def even(rows: int, most: int) -> int:
    """The size of as few chunks of at most about `most` rows as hold all, alike but for rounding
    up to ROUND rows."""
    if rows <= most:
        return max(1, rows)
    size = -(-rows // -(-rows // most))
    return -(-size // ROUND) * ROUND


class _Chunk(NamedTuple):
    rows: slice
    losses: Tensor
    """(rows,) in at least fp32, 0 where ignored."""
    gradient: Tensor
    """(rows, vocab) in the compute dtype: d loss / d logits, 0 where ignored; overwritten by the
    next chunk."""


def _chunks(hidden: Tensor, weight: Tensor, targets: Tensor) -> Iterator[_Chunk]:
    vocab, wide = weight.shape[0], reduction_dtype(hidden.dtype)
    size = rows_a_chunk(hidden, vocab)
    narrow = hidden.new_empty(size, vocab)
    pieces = size if hidden.is_cuda else max(1, min(size, CACHED_BYTES // (vocab * wide.itemsize)))
    buffer = hidden.new_empty(pieces, vocab, dtype=wide)
    for start in range(0, hidden.shape[0], size):
        rows = slice(start, min(start + size, hidden.shape[0]))
        logits = narrow[: rows.stop - start]
        torch.mm(hidden[rows], weight.T, out=logits)
        losses = [
            _softmax_gradient_(piece, target, buffer[: len(target)])
            for piece, target in zip(logits.split(pieces), targets[rows].split(pieces), strict=True)
        ]
        yield _Chunk(rows, torch.cat(losses), logits)


def _softmax_gradient_(logits: Tensor, targets: Tensor, buffer: Tensor) -> Tensor:
    """Losses (rows,); `logits` (rows, vocab) become softmax - one-hot(target), 0 where ignored."""
    p = logits if logits.dtype == buffer.dtype else buffer.copy_(logits)
    scored = (targets != IGNORED)[:, None]
    at = targets.clamp(min=0)[:, None]
    largest, at_target = p.amax(1), p.gather(1, at)[:, 0]
    torch.softmax(p, 1, out=p)
    # The largest probability is exp(largest - log sum exp): exact also where the target's own
    # probability would underflow.
    losses = largest - p.amax(1).log() - at_target
    p.mul_(scored)
    p.scatter_add_(1, at, -scored.to(p.dtype))
    if p is not logits:
        logits.copy_(p)
    return torch.where(scored[:, 0], losses, 0.0)


class _LinearCrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, narrow: Tensor | None
    ) -> Tensor:
        cast = weight.to(hidden.dtype) if narrow is None else narrow
        total = hidden.new_zeros((), dtype=reduction_dtype(hidden.dtype))
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for rows, losses, gradient in _chunks(hidden, cast, targets):
            total += losses.sum()
            if grad_hidden is not None:
                torch.mm(gradient, cast, out=grad_hidden[rows])
            if grad_weight is not None:
                _add_products(grad_weight, gradient, hidden[rows])
        ctx.grad_hidden, ctx.grad_weight = grad_hidden, grad_weight
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grads = _scaled_(ctx.grad_hidden, upstream), _scaled_(ctx.grad_weight, upstream)
        # Scaled in place, which must not happen twice.
        ctx.grad_hidden = ctx.grad_weight = _Spent()
        return *grads, None, None


def _add_products(total: Tensor, gradient: Tensor, hidden: Tensor) -> None:
    """total (vocab, width) += gradientᵀ (rows, vocab) hidden (rows, width)."""
    rows = WEIGHT_ROWS if total.device.type == "cpu" else len(total)
    for part, columns in zip(total.split(rows), gradient.split(rows, dim=1), strict=True):
        if total.dtype == hidden.dtype:
            part.addmm_(columns.T, hidden)
        else:  # widened before it is added: a sum of two dtypes takes a slow path on the CPU
            part += torch.mm(columns.T, hidden).to(total.dtype)


class _Spent:
    """In the place of gradients that have been handed out."""


def _scaled_(grad: Tensor | _Spent | None, upstream: Tensor) -> Tensor | None:
    if isinstance(grad, _Spent):
        raise RuntimeError("the gradient of linear_cross_entropy_sum can be taken only once")
    if grad is None or grad.dtype == upstream.dtype:
        return None if grad is None else grad.mul_(upstream)
    # In upstream's dtype: 1 / tokens rounded to bf16 would be a bias of up to 0.4 %.
    return grad.copy_(grad.to(upstream.dtype) * upstream)
