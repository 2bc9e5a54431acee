"""Causal grouped-query attention: torch's own on CUDA, a blocked one in bf16 on the CPU. Within
documents CUDA has another, in `document_mask.py`.

torch's CPU kernel multiplies tiles too small for the matrix units: measured on two cores with
avx512_bf16 at (4, 1024, 9, 64) it takes 52 ms forward and 82 backward. Here a block of queries
meets all its keys in one batched product, the query heads of a key head side by side, so that keys
are never repeated; what lies above the diagonal is left out block by block. Scores are fp32 and
stay in the cache. Nothing of size (s, s) is kept: the backward pass computes the scores again.
May not know of models.

Shapes: b batch, s sequence, h query heads, k key/value heads, g = h / k, d head width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ONE_DNN = torch.backends.mkldnn.is_available()
"""Asked once: torch.compile does not trace the question."""

SCORE_BYTES = 8 * 2**20
"""How many bytes of fp32 scores are held at once. They pass from product to softmax to product, so
they should fit a shared cache; a whole batch at 2,048 tokens, four times this, was measured a
quarter slower."""


def attention(q: Tensor, k: Tensor, v: Tensor, documents: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / sqrt(d)) v under a causal mask: (b, s, h, d).

    q (b, s, h, d); k and v (b, s, k, d), h a multiple of k. With `documents`, (b, s) int64, a
    position sees only those of its own number.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and ONE_DNN:
        return torch.ops.smol.blocked_attention(q, k, v, documents)
    mask = None if documents is None else allowed(documents)[:, None]
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask,
        is_causal=mask is None, enable_gqa=q.shape[2] != k.shape[2],
    )  # fmt: skip
    return y.transpose(1, 2)


def allowed(documents: Tensor) -> Tensor:
    """(b, s) document numbers -> (b, s, s) bool: the keys that each query may see."""
    s = documents.shape[1]
    causal = torch.ones(s, s, dtype=torch.bool, device=documents.device).tril()
    return causal & (documents[:, :, None] == documents[:, None, :])


@contextmanager
def _fp32_products_of_bf16() -> Iterator[None]:
    """Within, oneDNN multiplies fp32 operands as bf16 and returns its fp32 sums.

    The operands are bf16 numbers, so nothing of them is lost, and scores keep the sums' precision.
    """
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


class _Blocks:
    """One micro-batch's blocks of queries, and the buffers that they share."""

    def __init__(self, q: Tensor, k: Tensor, documents: Tensor | None) -> None:
        self.b, self.s, self.h, self.d = q.shape
        self.k = k.shape[2]
        self.g = self.h // self.k
        self.rows = min(self.s, 64 if self.s <= 512 else 128)
        self.scale = self.d**-0.5
        self.documents = documents
        self.above = torch.ones(self.rows, self.rows, dtype=torch.bool).triu(1)
        self._scores = torch.empty(self.b * self.h * self.rows * self.s)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for start in range(0, self.s, self.rows):
            yield start, min(start + self.rows, self.s)

    def queries(self, x: Tensor) -> Tensor:
        """(b, s, h, d) -> (b k, g, s, d) fp32."""
        x = x.unflatten(2, (self.k, self.g)).permute(0, 2, 3, 1, 4)
        return x.to(torch.float32, memory_format=torch.contiguous_format).flatten(0, 1)

    def keys(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """(b, s, k, d) -> (b k, s, d)."""
        return x.transpose(1, 2).to(dtype, memory_format=torch.contiguous_format).flatten(0, 1)

    def buffer(self, stop: int, rows: int, like: Tensor) -> Tensor:
        """(b k, g rows, stop) at the start of a buffer."""
        shape = (self.b * self.k, self.g * rows, stop)
        return like[: math.prod(shape)].view(shape)

    def probabilities(self, q: Tensor, keys: Tensor, start: int, stop: int) -> Tensor:
        """The probabilities of a block: q (b k, g rows, d), keys (b k, s, d) -> (b k, g rows, stop)
        fp32."""
        rows = stop - start
        scores = self.buffer(stop, rows, self._scores)
        torch.bmm(q, keys[:, :stop].mT, out=scores)
        scores.mul_(self.scale)
        heads = scores.view(self.b, self.h, rows, stop)
        heads[..., start:].masked_fill_(self.above[:rows, :rows], -math.inf)
        if self.documents is not None:
            queries, seen = self.documents[:, start:stop, None], self.documents[:, None, :stop]
            heads.masked_fill_((queries != seen)[:, None], -math.inf)
        return torch.softmax(scores, -1, out=scores)

    def put(self, block: Tensor, out: Tensor, start: int, stop: int) -> None:
        """(b k, g rows, d) into (b, s, h, d)."""
        heads = block.view(self.b, self.h, stop - start, self.d)
        out[:, start:stop].copy_(heads.transpose(1, 2))


def _in_parts(b: int, h: int, s: int) -> Iterator[slice]:
    """Ranges of sequences whose scores fit the budget together."""
    rows = min(s, 64 if s <= 512 else 128)
    size = max(1, SCORE_BYTES // (4 * h * rows * s))
    for start in range(0, b, size):
        yield slice(start, min(start + size, b))


@torch.library.custom_op("smol::blocked_attention", mutates_args=())
def _blocked(q: Tensor, k: Tensor, v: Tensor, documents: Tensor | None) -> Tensor:
    out = torch.empty(q.shape, dtype=q.dtype)
    with _fp32_products_of_bf16():
        for part in _in_parts(q.shape[0], q.shape[2], q.shape[1]):
            _forward(
                q[part], k[part], v[part], None if documents is None else documents[part], out[part]
            )
    return out


def _forward(q: Tensor, k: Tensor, v: Tensor, documents: Tensor | None, out: Tensor) -> None:
    blocks = _Blocks(q, k, documents)
    queries, keys, values = (
        blocks.queries(q),
        blocks.keys(k, torch.float32),
        blocks.keys(v, q.dtype),
    )
    narrow = torch.empty(blocks._scores.shape, dtype=q.dtype)
    for start, stop in blocks:
        mine = queries[:, :, start:stop].flatten(1, 2)
        p = blocks.probabilities(mine, keys, start, stop)
        p = blocks.buffer(stop, stop - start, narrow).copy_(p)
        blocks.put(torch.bmm(p, values[:, :stop]), out, start, stop)


@_blocked.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, documents: Tensor | None) -> Tensor:
    return torch.empty(q.shape, dtype=q.dtype, device=q.device)


@torch.library.custom_op("smol::blocked_attention_backward", mutates_args=())
def _blocked_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, documents: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    grads = [torch.empty(x.shape, dtype=x.dtype) for x in (q, k, v)]
    with _fp32_products_of_bf16():
        for part in _in_parts(q.shape[0], q.shape[2], q.shape[1]):
            _backward(
                grad[part], q[part], k[part], v[part],
                None if documents is None else documents[part], [g[part] for g in grads],
            )  # fmt: skip
    grad_q, grad_k, grad_v = grads
    return grad_q, grad_k, grad_v


def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    documents: Tensor | None,
    into: list[Tensor],
) -> None:
    blocks = _Blocks(q, k, documents)
    queries, upstream = blocks.queries(q), blocks.queries(grad)
    keys, values = blocks.keys(k, torch.float32), blocks.keys(v, torch.float32)
    narrow_keys = keys.to(q.dtype)
    grad_keys, grad_values = torch.zeros_like(keys), torch.zeros_like(values)
    wide = torch.empty_like(blocks._scores)
    narrow = torch.empty(wide.shape, dtype=q.dtype)
    for start, stop in blocks:
        rows = stop - start
        mine, g = (x[:, :, start:stop].flatten(1, 2) for x in (queries, upstream))
        p = blocks.probabilities(mine, keys, start, stop)
        grad_values[:, :stop].baddbmm_(p.mT, g)
        grad_scores = blocks.buffer(stop, rows, wide)
        torch.bmm(g, values[:, :stop].mT, out=grad_scores)
        # d softmax: p (dp - sum(p dp)).
        torch.ops.aten._softmax_backward_data.out(
            grad_scores, p, -1, torch.float32, grad_input=grad_scores
        )
        grad_scores.mul_(blocks.scale)
        grad_keys[:, :stop].baddbmm_(grad_scores.mT, mine)
        narrowed = blocks.buffer(stop, rows, narrow).copy_(grad_scores)
        blocks.put(torch.bmm(narrowed, narrow_keys[:, :stop]), into[0], start, stop)
    for total, out in ((grad_keys, into[1]), (grad_values, into[2])):
        out.copy_(total.view(blocks.b, blocks.k, blocks.s, blocks.d).transpose(1, 2))


@_blocked_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, documents: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
    return q, k, v


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    q, k, v, documents = inputs
    ctx.save_for_backward(q, k, v, documents)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    return *torch.ops.smol.blocked_attention_backward(grad, *ctx.saved_tensors), None


torch.library.register_autograd("smol::blocked_attention", _differentiate, setup_context=_save)
