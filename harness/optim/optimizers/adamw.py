"""AdamW over the parameters that it is given, with every keyword said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from harness.config import OptimConfig
from harness.optim.groups import decayed_and_spared
from models.roles import Role

FIELDS = ("adamw_",)


def build(
    config: OptimConfig, parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> dict[str, torch.optim.Optimizer]:
    """One AdamW, fused, over all parameters, in two groups, decayed and spared; the embedding and
    the head in a third where their rate is another."""
    decayed, spared = decayed_and_spared(parameters, roles)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.adamw_weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    if config.adamw_embedding_factor != 1.0:
        ends = {
            id(p) for name, p in parameters.items() if roles[name].kind in ("embedding", "head")
        }
        groups[1]["params"] = [p for p in spared if id(p) not in ends]
        own = config.adamw_lr * config.adamw_embedding_factor
        last = [p for p in spared if id(p) in ends]
        groups.append({"params": last, "weight_decay": 0.0, "lr": own})
    return {
        "adamw": torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.adamw_lr,
            betas=config.adamw_betas,
            eps=config.adamw_eps,
            amsgrad=False,
            maximize=False,
            foreach=False,
            capturable=False,
            differentiable=False,
            fused=True,
        )
    }
