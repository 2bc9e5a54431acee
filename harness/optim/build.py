"""The optimizer registry: from a configuration and the parameters' roles to optimizers.

Parameters are told apart by the roles that the model declares, never by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from harness.config import OptimConfig
from harness.optim.adamw import adamw
from harness.optim.muon import Muon
from harness.optim.torch_muon import TorchMuon
from models.lm import LanguageModel
from models.roles import Role

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}

Parts = dict[str, torch.optim.Optimizer]
"""Optimizers by a stable name, under which their states are saved."""


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
    return Optimizers(REGISTRY[config.name](config, parameters, roles))


def _inner(roles: Mapping[str, Role]) -> list[str]:
    """The matrices inside blocks: what Muon takes."""
    return [name for name, role in roles.items() if role.kind in ("matrix", "expert")]


def _rest(
    config: OptimConfig, parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> Parts:
    inner = set(_inner(roles))
    return adamw(config, {n: p for n, p in parameters.items() if n not in inner}, roles)


def _muon(
    config: OptimConfig, parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> Parts:
    inner = _inner(roles)
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
    return {"muon": muon, **_rest(config, parameters, roles)}


def _torch_muon(
    config: OptimConfig, parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> Parts:
    inner = _inner(roles)
    slices = [roles[name].slices for name in inner]
    muon = TorchMuon([parameters[name] for name in inner], slices, config)
    return {"torch-muon": muon, **_rest(config, parameters, roles)}


REGISTRY: Mapping[
    str, Callable[[OptimConfig, Mapping[str, nn.Parameter], Mapping[str, Role]], Parts]
] = {"muon": _muon, "torch-muon": _torch_muon, "adamw": adamw}
"""`optim.name` -> what makes its parts."""
