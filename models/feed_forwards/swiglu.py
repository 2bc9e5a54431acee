"""The gated feed-forward: three matrices."""

from __future__ import annotations

from torch import Tensor, nn

from models.config import ModelConfig
from models.layers import Linear
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
