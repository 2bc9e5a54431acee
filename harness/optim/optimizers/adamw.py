"""AdamW over the parameters that it is given, with every keyword said."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from harness.config import OptimConfig
from harness.optim.groups import decayed_and_spared
from models.roles import Role

FIELDS = ("adamw_",)


def build(
    config: OptimConfig, parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> dict[str, torch.optim.Optimizer]:
    """One AdamW, fused, over all parameters, in two groups: decayed and spared."""
    decayed, spared = decayed_and_spared(parameters, roles)
    groups = [
        {"params": decayed, "weight_decay": config.adamw_weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
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
