"""Causal grouped-query attention, with a cache for decoding.

Shapes: b batch, s sequence, t cached sequence, h heads, k key/value heads, d head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask

from models.config import ModelConfig
from models.kernels.attention import attention
from models.kernels.document_mask import Borders, masked_attention
from models.layers import LayerCache, Linear, RMSNorm, Rotary
from models.ops import Ops


class Attention(nn.Module):
    """Causal grouped-query attention (arXiv 2305.13245) with RoPE, optionally QK-norm."""

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.ops = ops
        inner, shared = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.query_key_value = Linear(config.width, inner, shared, shared)
        self.output = Linear(inner, config.width)
        self.query_norm: nn.Module | None = None
        self.key_norm: nn.Module | None = None
        if config.qk_norm:
            self.query_norm = RMSNorm(config.head_dim, config.norm_eps, ops)
            self.key_norm = RMSNorm(config.head_dim, config.norm_eps, ops)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        borders: Borders | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(b, s, width) -> (b, s, width); `borders` bound what a token sees."""
        b, s, _ = x.shape
        h, k = self.heads, self.kv_heads
        projected = self.query_key_value(x).view(b, s, h + 2 * k, self.head_dim)
        both, values = projected.split((h + k, k), dim=2)
        if self.query_norm is None or self.key_norm is None:
            queries, keys = self.ops.rope(both, *rotary).split((h, k), dim=2)
        else:
            queries, keys = both.split((h, k), dim=2)
            queries = self.ops.rope(self.query_norm(queries), *rotary)
            keys = self.ops.rope(self.key_norm(keys), *rotary)
        if cache is not None:
            y = self._attend(queries, cache, keys, values)
        elif isinstance(borders, BlockMask):
            y = masked_attention(queries, keys, values, borders)
        else:
            y = attention(queries, keys, values, borders)
        return self.dropout(self.output(y.reshape(b, s, h * self.head_dim)))

    def _attend(self, queries: Tensor, cache: LayerCache, keys: Tensor, values: Tensor) -> Tensor:
        k, v = cache.append(keys.transpose(1, 2), values.transpose(1, 2))  # (b, k, t, d)
        mask = _after_cached(queries.shape[1], k.shape[2], queries.device)
        y = F.scaled_dot_product_attention(
            queries.transpose(1, 2), k, v, attn_mask=mask, is_causal=mask is None,
            enable_gqa=self.heads != self.kv_heads,
        )  # fmt: skip
        return y.transpose(1, 2)


def _after_cached(new: int, total: int, device: torch.device) -> Tensor | None:
    """Which of `total` positions the last `new` may see, (new, total); None where nothing came
    before them and the plain causal mask says the same."""
    if new == total:
        return None
    return torch.ones(new, total, dtype=torch.bool, device=device).tril(total - new)
