"""A mixture of experts as the seed had it: a loop over experts with masks, written plainly.

A peer to time our mixture against, with the same weights and the same mathematics: every step is
torch's own module or function, all logits are made at once, and each expert waits to learn how
many tokens it got. Not for training.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.lm import LanguageModel


class LoopMoE(nn.Module):
    """`LanguageModel` of a mixture of experts, in plain torch; tokens (b, s) -> (b, s, vocab)."""

    def __init__(self, ours: LanguageModel) -> None:
        """Takes a copy of the weights of `ours`."""
        super().__init__()
        c = self.config = ours.config
        self.embedding = nn.Embedding(c.vocab_size, c.width)
        self.blocks = nn.ModuleList(_Block(c) for _ in range(c.layers))
        self.final_norm = nn.RMSNorm(c.width, c.norm_eps)
        self.load_state_dict(_renamed(ours), strict=True)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the weighted routing losses: mean over sequences, summed over layers."""
        c = self.config
        x = self.embedding(tokens)
        angles = _angles(tokens.shape[1], c, x.device)
        routing = x.new_zeros(())
        for block in self.blocks:
            x, added = block(x, angles)
            routing = routing + added
        return F.linear(self.final_norm(x), self.embedding.weight), routing


class _Block(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.config = c
        inner, shared = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.attention_norm = nn.RMSNorm(c.width, c.norm_eps)
        self.query = nn.Linear(c.width, inner, bias=False)
        self.key = nn.Linear(c.width, shared, bias=False)
        self.value = nn.Linear(c.width, shared, bias=False)
        self.output = nn.Linear(inner, c.width, bias=False)
        if c.qk_norm:
            self.query_norm = nn.RMSNorm(c.head_dim, c.norm_eps)
            self.key_norm = nn.RMSNorm(c.head_dim, c.norm_eps)
        self.feed_forward_norm = nn.RMSNorm(c.width, c.norm_eps)
        self.router = nn.Linear(c.width, c.experts, bias=False)
        self.experts = nn.ModuleList(_Expert(c) for _ in range(c.experts))

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x = x + self._attend(self.attention_norm(x), angles)
        y, routing = self._mix(self.feed_forward_norm(x))
        return x + y, routing

    def _attend(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        c, (b, s, _) = self.config, x.shape
        q = self.query(x).view(b, s, c.heads, c.head_dim)
        k = self.key(x).view(b, s, c.kv_heads, c.head_dim)
        v = self.value(x).view(b, s, c.kv_heads, c.head_dim)
        if c.qk_norm:
            q, k = self.query_norm(q), self.key_norm(k)
        q, k = _rotate(q, angles), _rotate(k, angles)
        q, k, v = (t.to(v.dtype).transpose(1, 2) for t in (q, k, v))  # (b, heads, s, d)
        y = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=c.heads != c.kv_heads
        )
        return self.output(y.transpose(1, 2).reshape(b, s, -1))

    def _mix(self, x: Tensor) -> tuple[Tensor, Tensor]:
        c, (b, s, width) = self.config, x.shape
        with torch.autocast(x.device.type, enabled=False):  # routing is decided in fp32
            logits = self.router(x.to(self.router.weight.dtype))
        probabilities = logits.softmax(-1)  # (b, s, experts)
        top, chosen = probabilities.topk(c.top_k, dim=-1)
        weights = top / top.sum(-1, keepdim=True)
        flat, out = x.view(b * s, width), torch.zeros_like(x).view(b * s, width)
        for number, expert in enumerate(self.experts):
            mask = (chosen == number).view(b * s, c.top_k)
            rows = mask.any(-1)
            if not rows.any():
                continue
            share = (weights.view(b * s, c.top_k) * mask).sum(-1)[rows]
            out[rows] += (share[:, None] * expert(flat[rows])).to(out.dtype)
        fraction = F.one_hot(chosen, c.experts).sum((1, 2)) / (s * c.top_k)
        balance = (c.experts * (fraction * probabilities.mean(1)).sum(-1)).mean()
        z = logits.logsumexp(-1).square().mean()
        return out.view(b, s, width), c.balance_weight * balance + c.z_weight * z


class _Expert(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(c.width, c.ffn, bias=False) if c.activation == "swiglu" else None
        self.up = nn.Linear(c.width, c.ffn, bias=False)
        self.down = nn.Linear(c.ffn, c.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate is None:
            return self.down(F.silu(self.up(x)))
        return self.down(F.silu(self.gate(x)) * self.up(x))


def _angles(length: int, c: ModelConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    frequencies = c.rope_theta ** -(torch.arange(0, c.head_dim, 2, device=device) / c.head_dim)
    angles = torch.outer(torch.arange(length, device=device).float(), frequencies)
    angles = torch.cat((angles, angles), dim=-1)[:, None]  # (s, 1, d)
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = angles
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def _renamed(ours: LanguageModel) -> dict[str, Tensor]:
    """The weights of our model under this one's names, what is fused or stacked one by one."""
    fused = {
        "query_key_value": ("query", "key", "value"),
        "inner": ("gate", "up") if ours.config.activation == "swiglu" else ("up",),
    }
    state: dict[str, Tensor] = {}
    for name, role in ours.roles().items():
        tensor = ours.get_parameter(name).detach()
        plain = name.replace(".attention.", ".").replace(".feed_forward.", ".")
        stem, _, leaf = plain.removesuffix(".weight").rpartition(".")
        names = fused.get(leaf, (leaf,))
        parts = tensor.split(role.slices, dim=-2) if len(names) > 1 else (tensor,)
        for one, part in zip(names, parts, strict=True):
            if role.kind == "expert":
                for number, expert in enumerate(part):
                    state[f"{stem}.experts.{number}.{one}.weight"] = expert.clone()
            else:
                state[f"{stem}.{one}.weight".removeprefix(".")] = part.clone()
    return state
