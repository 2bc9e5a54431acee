"""The mixture of experts. May not wait for the device to decide anything.

Drop-less: the copies of tokens are sorted by expert and multiplied group by group
(MegaBlocks, arXiv 2211.15841), so that every token reaches each expert it chose.
Nothing accumulates by index: forward and backward move rows along a permutation and its
inverse, so results do not depend on the order in which threads finish.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.dtypes import reduction_dtype
from models.layers import Linear, unset
from models.ops import Ops
from models.roles import Role
from models.routing import Routing
from models.working import cast


class MixtureOfExperts(nn.Module):
    """Each token's `top_k` of `experts` networks, weighted by renormalised probabilities.

    The weights are the softmax over all router logits, renormalised over the chosen, which is
    the softmax over the chosen logits (Mixtral, arXiv 2401.04088, section 2.1). The router is
    computed in at least fp32. Expert weights are (experts, outputs, inputs).
    """

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.experts, self.top_k, self.noise = config.experts, config.top_k, config.router_noise
        self.ops = ops
        self.gated = config.activation == "swiglu"
        inner = (config.ffn, config.ffn) if self.gated else (config.ffn,)
        self.router = Linear(config.width, config.experts, kind="router")
        # Of a gated expert, gate above up, in one product.
        self.inner = unset(config.experts, sum(inner), config.width)
        self.down = unset(config.experts, config.width, config.ffn)
        self.own_roles = {
            "inner": Role("expert", inner),
            "down": Role("expert", (config.width,)),
        }
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """(b, s, width) -> (b, s, width), and what the router did."""
        b, s, width = x.shape
        logits = self.router(x.to(reduction_dtype(x.dtype)))  # (b, s, experts)
        if self.training and self.noise > 0.0:
            logits = logits + self.noise * torch.randn_like(logits)
        log_total = logits.logsumexp(-1)  # (b, s)
        probabilities = (logits - log_total.unsqueeze(-1)).exp()
        chosen_p, chosen = probabilities.topk(self.top_k, dim=-1)  # (b, s, top_k)
        weights = chosen_p / chosen_p.sum(-1, keepdim=True)
        one_hot = chosen.unsqueeze(-1) == torch.arange(self.experts, device=x.device)
        counts = one_hot.sum((1, 2))  # (b, experts)
        load = counts.sum(0)
        y = self._through_experts(x.reshape(b * s, width), chosen.flatten(), load)
        y = (y.view(b, s, self.top_k, width) * weights.to(x.dtype).unsqueeze(-1)).sum(2)

        # Switch Transformer (arXiv 2101.03961, eq. 4-6), the top-k assignments counted alike, for
        # each sequence on its own: a mean over a micro-batch would depend on its size.
        fraction = counts / (s * self.top_k)
        balance = self.experts * (fraction * probabilities.mean(1)).sum(-1)
        z = log_total.square().mean(1)  # ST-MoE (arXiv 2202.08906, eq. 5)
        entropy = (probabilities.detach() * (log_total.unsqueeze(-1) - logits).detach()).sum()
        return self.dropout(y), Routing(balance, z, load, entropy)

    def _through_experts(self, x: Tensor, chosen: Tensor, load: Tensor) -> Tensor:
        """x (n, width) and expert numbers (n * top_k,) -> (n * top_k, width), token by token."""
        order = chosen.argsort(stable=True)
        inverse = torch.zeros_like(order).scatter(
            0, order, torch.arange(order.numel(), device=order.device)
        )
        ends = load.cumsum(0).to(torch.int32)
        sorted_x = take_rows(x, order // self.top_k, inverse, self.top_k)
        hidden = self.ops.grouped_mm(sorted_x, cast(self, "inner", x.dtype), ends)
        hidden = self.ops.swiglu(hidden) if self.gated else F.silu(hidden)
        y = self.ops.grouped_mm(hidden, cast(self, "down", x.dtype), ends)
        return take_rows(y, inverse, order, 1)


class _TakeRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, back: Tensor, copies: int) -> Tensor:
        ctx.save_for_backward(back)
        ctx.copies = copies
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (back,) = ctx.saved_tensors
        grad = grad.index_select(0, back)
        if ctx.copies > 1:
            grad = grad.view(-1, ctx.copies, grad.shape[-1]).sum(1)
        return grad, None, None, None


def take_rows(x: Tensor, rows: Tensor, back: Tensor, copies: int) -> Tensor:
    """x[rows], where each row of x is taken exactly `copies` times.

    `back` lists, row of x by row of x, the places of its copies in the result: the gradient is
    gathered through it and summed over copies, in a fixed order, where plain indexing would
    scatter and add.
    """
    return _TakeRows.apply(x, rows, back, copies)
