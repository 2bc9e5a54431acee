"""The dense feed-forward and the block around it. May not know of mixtures of experts."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.layers import Attention, LayerCache, Linear, RMSNorm, Rotary


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)) (arXiv 2002.05202, eq. 6)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.width, config.ffn)
        self.up = Linear(config.width, config.ffn)
        self.down = Linear(config.ffn, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, width) -> (b, s, width)."""
        return self.dropout(self.down(F.silu(self.gate(x)) * self.up(x)))


class SiLU(nn.Module):
    """down(silu(up(x))): two matrices."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(config.width, config.ffn)
        self.down = Linear(config.ffn, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, width) -> (b, s, width)."""
        return self.dropout(self.down(F.silu(self.up(x))))


class DenseBlock(nn.Module):
    """Pre-norm attention, then pre-norm feed-forward, each added to its input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_eps)
        self.feed_forward = (SwiGLU if config.activation == "swiglu" else SiLU)(config)

    def forward(
        self, x: Tensor, rotary: Rotary, cache: LayerCache | None = None
    ) -> tuple[Tensor, None]:
        """(b, s, width) -> (b, s, width), and no routing."""
        x = x + self.attention(self.attention_norm(x), rotary, cache)
        x = x + self.feed_forward(self.feed_forward_norm(x))
        return x, None
