"""The dense feed-forward and the block around it. May not know of mixtures of experts."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.kernels.document_mask import Borders
from models.layers import Attention, LayerCache, Linear, RMSNorm, Rotary
from models.ops import Ops


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)) (arXiv 2002.05202, eq. 6), gate and up in one product."""

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.ops = ops
        self.gate_up = Linear(config.width, config.ffn, config.ffn)
        self.down = Linear(config.ffn, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, width) -> (b, s, width)."""
        return self.dropout(self.down(self.ops.swiglu(self.gate_up(x))))


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

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps, ops)
        self.attention = Attention(config, ops)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_eps, ops)
        self.feed_forward: nn.Module = (
            SwiGLU(config, ops) if config.activation == "swiglu" else SiLU(config)
        )

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        borders: Borders | None = None,
        cache: LayerCache | None = None,
    ) -> tuple[Tensor, None]:
        """(b, s, width) -> (b, s, width), and no routing."""
        y = self.attention(self.attention_norm(x), rotary, borders, cache)
        x, normed = self.feed_forward_norm.after_adding(y, x)
        return x + self.feed_forward(normed), None
