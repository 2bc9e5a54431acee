"""RMSNorm op by op with its gradient by hand, for the CPU where nothing compiles.

torch derives the gradient of six small ops, and keeps their fp32 intermediates; here one statistic
a row is kept, and nothing is computed twice. In blocks of rows that stay in a core's cache.
May not know of models. n rows: all leading dimensions together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from models.dtypes import reduction_dtype

CACHED_BYTES = 2**20
"""How many bytes of fp32 rows are worked on at once."""


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight in at least fp32: x (..., width), weight (width,)."""
    return _RMSNorm.apply(x, weight, eps)


def _blocks(rows: int, width: int, dtype: torch.dtype) -> Iterator[slice]:
    size = max(1, CACHED_BYTES // (width * dtype.itemsize))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide, width = reduction_dtype(x.dtype), x.shape[-1]
        rows = x.reshape(-1, width)
        y = torch.empty_like(rows, memory_format=torch.contiguous_format)
        inverse = x.new_empty(len(rows), 1, dtype=wide)
        scale = weight.to(wide)
        for at in _blocks(len(rows), width, wide):
            block = rows[at].to(wide)
            mean = torch.mean(block.square(), -1, keepdim=True)
            torch.rsqrt(mean.add_(eps), out=inverse[at])
            y[at] = (block * inverse[at]).mul_(scale)
        ctx.save_for_backward(rows, weight, inverse)
        return y.view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, weight, inverse = ctx.saved_tensors
        wide, width = inverse.dtype, rows.shape[-1]
        upstream = grad.reshape(-1, width)
        grad_x = torch.empty_like(rows, memory_format=torch.contiguous_format)
        grad_weight = rows.new_zeros(width, dtype=wide)
        scale = weight.to(wide)
        for at in _blocks(len(rows), width, wide):
            g = upstream[at].to(wide)
            normed = rows[at].to(wide).mul_(inverse[at])
            grad_weight += (g * normed).sum(0)
            # y = w x r with r = (mean(x²) + eps)^-1/2, dr/dx = -r³ x / width, hence
            # dx = r (w g - x̂ mean(w g x̂)) with x̂ = x r.
            scaled = g.mul_(scale)
            mean = torch.mean(scaled * normed, -1, keepdim=True)
            grad_x[at] = scaled.sub_(normed.mul_(mean)).mul_(inverse[at])
        return grad_x.view(grad.shape), grad_weight.to(weight.dtype), None
