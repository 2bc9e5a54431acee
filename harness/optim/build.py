"""The optimizer registry: from a configuration and the parameters' roles to optimizers.

Parameters are told apart by the roles that the model declares, never by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from harness.config import OptimConfig
from harness.optim.muon import Muon
from models.lm import LanguageModel, Role

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}

DECAYED = frozenset({"matrix", "expert", "router"})
"""Roles that weight decay touches: never norms, never embeddings or the head."""


class Optimizers:
    """The optimizers of one model, stepped and scheduled as one."""

    def __init__(self, parts: Mapping[str, torch.optim.Optimizer]) -> None:
        """`parts` by a stable name, under which their states are saved."""
        self.parts = dict(parts)
        self._peaks = {
            name: [group["lr"] for group in part.param_groups] for name, part in parts.items()
        }

    def set_factor(self, factor: float) -> None:
        """Every learning rate becomes its peak times the schedule's factor."""
        for name, part in self.parts.items():
            for group, peak in zip(part.param_groups, self._peaks[name], strict=True):
                group["lr"] = peak * factor

    def step(self) -> None:
        """One optimizer step of each part."""
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states by the parts' names."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; raises ValueError where the parts are others than those saved."""
        if set(state) != set(self.parts):
            raise ValueError(f"optimizer state of {sorted(state)}, not of {sorted(self.parts)}")
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def build(config: OptimConfig, model: LanguageModel) -> Optimizers:
    """The optimizers that a configuration names, over all parameters of a model."""
    parameters = dict(model.named_parameters())
    roles = model.roles()
    if set(parameters) != set(roles):
        raise ValueError(f"parameters without a role: {sorted(set(parameters) ^ set(roles))}")
    return REGISTRY[config.name](config, parameters, roles)


def _muon(
    config: OptimConfig, parameters: dict[str, nn.Parameter], roles: Mapping[str, Role]
) -> Optimizers:
    inner = [name for name, role in roles.items() if role.kind in ("matrix", "expert")]
    muon = Muon(
        [parameters[name] for name in inner],
        [roles[name].slices for name in inner],
        lr=config.muon_lr,
        momentum=config.muon_momentum,
        nesterov=config.muon_nesterov,
        weight_decay=config.muon_weight_decay,
        ns_iterations=config.muon_ns_iterations,
        ns_coefficients=config.muon_ns_coefficients,
        ns_eps=config.muon_ns_eps,
        ns_dtype=DTYPES[config.muon_ns_dtype],
        scale=config.muon_scale,
    )
    rest = {name: p for name, p in parameters.items() if name not in set(inner)}
    return Optimizers({"muon": muon, "adamw": _adamw_over(config, rest, roles)})


def _adamw(
    config: OptimConfig, parameters: dict[str, nn.Parameter], roles: Mapping[str, Role]
) -> Optimizers:
    return Optimizers({"adamw": _adamw_over(config, parameters, roles)})


def _adamw_over(
    config: OptimConfig, parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> torch.optim.AdamW:
    decayed = [p for name, p in parameters.items() if roles[name].kind in DECAYED]
    spared = [p for name, p in parameters.items() if roles[name].kind not in DECAYED]
    groups = [
        {"params": decayed, "weight_decay": config.adamw_weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
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


REGISTRY: dict[
    str, Callable[[OptimConfig, dict[str, nn.Parameter], Mapping[str, Role]], Optimizers]
] = {"muon": _muon, "adamw": _adamw}
