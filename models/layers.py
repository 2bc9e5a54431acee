"""The layers that every model shares: linear maps, RMSNorm, RoPE, attention and its cache.

Weights are kept in the master dtype (fp32, or fp64 in tests) and cast to the activations' dtype
where they are used, so that gradients arrive in the masters' dtype. May not know which
feed-forward stands beside the attention, nor anything of the harness.

Shapes: b batch, s sequence, t cached sequence, h heads, k key/value heads, d head width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.roles import Kind, Role

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines, each (s, 1, d / 2)."""


def reduction_dtype(dtype: torch.dtype) -> torch.dtype:
    """What norms, softmax and losses are computed in: fp32, or fp64 where the compute is fp64."""
    return torch.promote_types(dtype, torch.float32)


def unset(*shape: int) -> nn.Parameter:
    """A parameter of NaNs: a model neither initialised nor loaded shows itself at once."""
    return nn.Parameter(torch.full(shape, math.nan))


class Linear(nn.Module):
    """y = x Wᵀ without bias; the weight is (outputs, inputs)."""

    def __init__(self, inputs: int, outputs: int, kind: Kind = "matrix") -> None:
        super().__init__()
        self.weight = unset(outputs, inputs)
        self.own_roles = {"weight": Role(kind, (outputs,))}

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return F.linear(x, self.weight.to(x.dtype))


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

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = unset(width)
        self.own_roles = {"weight": Role("norm")}

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> the same shape and dtype."""
        wide = reduction_dtype(x.dtype)
        y = F.rms_norm(x.to(wide), self.weight.shape, self.weight.to(wide), self.eps)
        return y.to(x.dtype)


def rotary_angles(
    start: int, length: int, head_dim: int, theta: float, dtype: torch.dtype, device: torch.device
) -> Rotary:
    """Cosines and sines of RoPE (arXiv 2104.09864, eq. 15) for positions start .. start+length-1.

    Pair i turns by position · theta^(-2i/d). In fp32 the operations are in the order that the
    released weights were trained with; computed anew in each forward pass (a few thousandths of
    it), so that no table has to be saved, moved or cast with the model.
    """
    wide = reduction_dtype(dtype)
    exponents = torch.arange(0, head_dim, 2, device=device).to(wide) / head_dim
    frequencies = 1.0 / theta**exponents
    positions = torch.arange(start, start + length, device=device).to(wide)
    angles = torch.outer(positions, frequencies)[:, None, :]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Turn the pairs (x_i, x_{i+d/2}): the rotate-half layout, as in transformers' Llama.

    x is (b, s, heads, d); the product is in the tables' dtype, the result in x's.
    """
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


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


class Attention(nn.Module):
    """Causal grouped-query attention (arXiv 2305.13245) with RoPE, optionally QK-norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.query = Linear(config.width, config.heads * config.head_dim)
        self.key = Linear(config.width, config.kv_heads * config.head_dim)
        self.value = Linear(config.width, config.kv_heads * config.head_dim)
        self.output = Linear(config.heads * config.head_dim, config.width)
        self.query_norm: nn.Module = nn.Identity()
        self.key_norm: nn.Module = nn.Identity()
        if config.qk_norm:
            self.query_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.key_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rotary: Rotary, cache: LayerCache | None = None) -> Tensor:
        """(b, s, width) -> (b, s, width)."""
        b, s, _ = x.shape
        q = self.query_norm(self.query(x).view(b, s, self.heads, self.head_dim))
        k = self.key_norm(self.key(x).view(b, s, self.kv_heads, self.head_dim))
        v = self.value(x).view(b, s, self.kv_heads, self.head_dim).transpose(1, 2)
        q = rotate(q, rotary).transpose(1, 2)  # (b, h, s, d)
        k = rotate(k, rotary).transpose(1, 2)  # (b, k, s, d)
        mask = None
        if cache is not None:
            k, v = cache.append(k, v)  # (b, k, t, d)
            mask = _after_cached(s, k.shape[2], x.device)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=self.heads != self.kv_heads
        )
        y = y.transpose(1, 2).reshape(b, s, self.heads * self.head_dim)
        return self.dropout(self.output(y))


def _after_cached(new: int, total: int, device: torch.device) -> Tensor | None:
    """Which of `total` positions the last `new` may see, (new, total); None where nothing came
    before them and the plain causal mask says the same."""
    if new == total:
        return None
    return torch.ones(new, total, dtype=torch.bool, device=device).tril(total - new)
