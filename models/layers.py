"""The layers that every model shares: linear maps, RMSNorm, RoPE, the cache of keys and values.

Weights are kept in the master dtype (fp32, or fp64 in tests) and cast to the activations' dtype
where they are used, so that gradients arrive in the masters' dtype (`models/working.py` says how
often). May not know which attention or feed-forward uses them, nor anything of the harness.

Shapes: b batch, s sequence, t cached sequence, k key/value heads, d head width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.dtypes import reduction_dtype
from models.kernels.document_mask import beginnings
from models.ops import Ops
from models.roles import Kind, Role
from models.working import cast

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines, each (s, 1, d / 2); (b, s, 1, d / 2) where positions differ by sequence."""


def unset(*shape: int) -> nn.Parameter:
    """A parameter of NaNs: a model neither initialised nor loaded shows itself at once."""
    return nn.Parameter(torch.full(shape, math.nan))


class Linear(nn.Module):
    """y = x Wᵀ without bias; the weight is (outputs, inputs).

    Given several outputs it holds as many matrices, one below the other, in one product.
    """

    def __init__(self, inputs: int, *outputs: int, kind: Kind = "matrix") -> None:
        super().__init__()
        self.weight = unset(sum(outputs), inputs)
        self.own_roles = {"weight": Role(kind, outputs)}

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., all outputs)."""
        return F.linear(x, cast(self, "weight", x.dtype))


class Embedding(nn.Module):
    """Rows of a (vocab, width) table."""

    def __init__(self, vocab: int, width: int) -> None:
        super().__init__()
        self.weight = unset(vocab, width)
        self.own_roles = {"weight": Role("embedding", (vocab,))}

    def forward(self, tokens: Tensor, dtype: torch.dtype) -> Tensor:
        """(b, s) int64 -> (b, s, width) in `dtype`."""
        return F.embedding(tokens, self.weight).to(dtype)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight (arXiv 1910.07467, eq. 4), computed in at least fp32."""

    def __init__(self, width: int, eps: float, ops: Ops) -> None:
        super().__init__()
        self.eps, self.ops = eps, ops
        self.weight = unset(width)
        self.own_roles = {"weight": Role("norm")}

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> the same shape and dtype."""
        return self.ops.rms_norm(x, self.weight, self.eps)

    def after_adding(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """residual + x, and the norm of it; each (..., width)."""
        return self.ops.add_rms_norm(x, residual, self.weight, self.eps)


def rotary_angles(positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> Rotary:
    """Cosines and sines of RoPE (arXiv 2104.09864, eq. 15) for positions (s,) or (b, s).

    Pair i turns by position · theta^(-2i/d). In fp32 the operations are in the order that the
    released weights were trained with; computed anew in each forward pass (a few thousandths of
    it), so that no table has to be saved, moved or cast with the model.
    """
    wide = reduction_dtype(dtype)
    exponents = torch.arange(0, head_dim, 2, device=positions.device).to(wide) / head_dim
    frequencies = 1.0 / theta**exponents
    angles = (positions.to(wide)[..., None] * frequencies)[..., None, :]
    return angles.cos(), angles.sin()


def positions_within(documents: Tensor) -> Tensor:
    """(b, s) document numbers, equal ones side by side -> each token's place in its document."""
    return torch.arange(documents.shape[1], device=documents.device) - beginnings(documents)


class LayerCache:
    """Keys and values of one layer, (b, k, capacity, d), filled from the left."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device):
        self.length = 0
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add (b, k, s, d) and give all that is there, (b, k, t, d)."""
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class KVCache:
    """The layers' keys and values for decoding up to `capacity` tokens.

    Raises ValueError where the model's positions end before that.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        if capacity > config.max_seq_len:
            raise ValueError(
                f"a cache of {capacity} tokens is longer than the model's {config.max_seq_len}"
            )
        shape = (batch, config.kv_heads, capacity, config.head_dim)
        self.layers = [LayerCache(shape, dtype, device) for _ in range(config.layers)]

    @property
    def length(self) -> int:
        """Tokens that every layer has seen."""
        return self.layers[-1].length
