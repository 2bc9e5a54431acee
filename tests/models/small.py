"""Tiny configurations of odd shapes, for the tests of the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from models.config import ModelConfig
from models.lm import LanguageModel

DENSE: dict[str, Any] = {
    "vocab_size": 97,
    "width": 40,
    "layers": 2,
    "heads": 5,
    "kv_heads": 1,
    "head_dim": 8,
    "ffn": 56,
    "activation": "swiglu",
    "qk_norm": False,
    "rope_theta": 10_000.0,
    "norm_eps": 1e-5,
    "tied": True,
    "init_std": 0.2,
    "max_seq_len": 64,
    "dropout": 0.0,
    "experts": 0,
    "top_k": 0,
    "balance_weight": 0.0,
    "z_weight": 0.0,
    "router_noise": 0.0,
}
MOE = DENSE | {"experts": 3, "top_k": 2, "ffn": 24, "balance_weight": 0.5, "z_weight": 0.1}
SILU_MOE = MOE | {"activation": "silu", "qk_norm": True}


def config(base: dict[str, Any], **changes: Any) -> ModelConfig:
    return ModelConfig(**(base | changes))


def build(
    base: dict[str, Any],
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    kernels: Sequence[str] = (),
    **changes: Any,
) -> LanguageModel:
    """A tiny model that computes in `dtype`, its masters fp64 where that is fp64."""
    model = LanguageModel(config(base, **changes), dtype, kernels=kernels)
    if dtype == torch.float64:
        model.double()
    model.init_weights(seed)
    return model


def tokens(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, DENSE["vocab_size"], shape, generator=generator)


def gradients(
    model: LanguageModel, documents: torch.Tensor | None = None
) -> dict[str, torch.Tensor | None]:
    """Of each parameter, from one batch of 2 x 13 tokens, both losses weighed in."""
    inputs, targets = tokens(2, 13), tokens(2, 13, seed=2)
    sums = model.loss_sums(inputs, targets, documents)
    (sums.cross_entropy / 26 + sums.routing / 2).backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    return found


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Norm of the difference by the norm of `b`."""
    return float(((a - b).norm() / b.norm()).detach())
