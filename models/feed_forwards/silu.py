"""The plain feed-forward: two matrices."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.layers import Linear
from models.ops import Ops


class SiLU(nn.Module):
    """down(silu(up(x))): two matrices."""

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.up = Linear(config.width, config.ffn)
        self.down = Linear(config.ffn, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, width) -> (b, s, width)."""
        return self.dropout(self.down(F.silu(self.up(x))))
