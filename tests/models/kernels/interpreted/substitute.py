"""The model with every kernel in its place, by substitution: how a trunk would use them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models import dense, layers, lm, moe
from models.kernels.grouped_gemm import grouped_gemm
from models.kernels.head_cross_entropy import head_cross_entropy_sum
from models.kernels.launching import TritonKernel
from models.kernels.rms_norm import add_rms_norm, rms_norm
from models.kernels.rope import rope
from models.kernels.swiglu import swiglu


def _norm(self: layers.RMSNorm, x: Tensor) -> Tensor:
    return rms_norm(x, self.weight, self.eps)


def _swiglu(self: dense.SwiGLU, x: Tensor) -> Tensor:
    return self.dropout(self.down(swiglu(self.gate(x), self.up(x))))


def _block(self, x, rotary, cache=None):
    y = self.attention(self.attention_norm(x), rotary, cache)
    norm = self.feed_forward_norm
    x, normed = add_rms_norm(y, x, norm.weight, norm.eps)
    out = self.feed_forward(normed)
    return (x + out[0], out[1]) if isinstance(out, tuple) else (x + out, None)


def _through_experts(self: moe.MixtureOfExperts, x: Tensor, chosen: Tensor, load: Tensor) -> Tensor:
    order = chosen.argsort(stable=True)
    inverse = torch.zeros_like(order).scatter(0, order, torch.arange(order.numel()))
    ends = load.cumsum(0).to(torch.int32)
    rows = moe.take_rows(x, order // self.top_k, inverse, self.top_k)
    assert self.gate is not None
    gate, up = (grouped_gemm(rows, w.to(x.dtype), ends) for w in (self.gate, self.up))
    down = grouped_gemm(swiglu(gate, up), self.down.to(x.dtype), ends)
    return moe.take_rows(down, inverse, order, 1)


def kernels_on(patch: pytest.MonkeyPatch) -> set[str]:
    """Every kernel in its place; the set fills with the names of those that were launched."""
    patch.setattr(layers.RMSNorm, "forward", _norm)
    patch.setattr(layers, "rotate", lambda x, rotary: rope(x, *rotary))
    patch.setattr(dense.SwiGLU, "forward", _swiglu)
    patch.setattr(dense.DenseBlock, "forward", _block)
    patch.setattr(moe.MoEBlock, "forward", _block)
    patch.setattr(moe.MixtureOfExperts, "_through_experts", _through_experts)
    patch.setattr(lm, "linear_cross_entropy_sum", head_cross_entropy_sum)
    launched: set[str] = set()
    launch = TritonKernel.launch

    def noted(self: TritonKernel, grid, **arguments):
        launched.add(self.name)
        launch(self, grid, **arguments)

    patch.setattr(TritonKernel, "launch", noted)
    return launched
