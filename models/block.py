"""A block: attention and feed-forward, each behind a norm. May not know which ones there are."""

from __future__ import annotations

from torch import Tensor, nn

from models import parts
from models.config import ModelConfig
from models.kernels.document_mask import Borders
from models.layers import LayerCache, RMSNorm, Rotary
from models.ops import Ops
from models.routing import Routing


class Block(nn.Module):
    """Pre-norm attention, then pre-norm feed-forward, each added to its input."""

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps, ops)
        self.attention = parts.attention(config, ops)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_eps, ops)
        self.feed_forward = parts.feed_forward(config, ops)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        borders: Borders | None = None,
        cache: LayerCache | None = None,
    ) -> tuple[Tensor, Routing | None]:
        """(b, s, width) -> (b, s, width), and what a router did; None where there is none."""
        y = self.attention(self.attention_norm(x), rotary, borders, cache)
        x, normed = self.feed_forward_norm.after_adding(y, x)
        y = self.feed_forward(normed)
        y, routing = y if isinstance(y, tuple) else (y, None)
        return x + y, routing
