"""An optimizer that is not ours: a user's class or function, or an installed library's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from harness.config import OptimConfig
from harness.optim.groups import decayed_and_spared
from models import own
from models.roles import Role

Parts = dict[str, torch.optim.Optimizer]


def build(
    config: OptimConfig, parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> Parts:
    """The optimizers by a name under which their states are saved.

    A class is called with two parameter groups, decayed and spared (whose weight decay is 0), and
    its settings; a function with `parameters` and `roles`, both by name, and its settings: it
    gives an optimizer, or several by name. Raises `own.Fault` for one that gives anything else,
    and whatever its code raises.
    """
    part: Any = own.load(config.name, config.code)
    settings = own.arguments(config.settings)
    if handed_in(part) == 1:
        decayed, spared = decayed_and_spared(parameters, roles)
        groups: list[dict[str, Any]] = [
            {"params": decayed},
            {"params": spared, "weight_decay": 0.0},
        ]
        made: Any = part([group for group in groups if group["params"]], **settings)
    else:
        made = part(dict(parameters), dict(roles), **settings)
    found: Parts = dict(made) if isinstance(made, Mapping) else {"own": made}
    for name, one in found.items():
        if not isinstance(one, torch.optim.Optimizer):
            raise own.Fault(
                f"{own.line_of(part)}: gives {type(one).__name__} as '{name}', "
                "not a torch.optim.Optimizer"
            )
        if not all(isinstance(group.get("lr"), float) for group in one.param_groups):
            raise own.Fault(
                f"{own.line_of(part)}: its groups need `lr`, a number that a schedule scales"
            )
    held = {id(p) for one in found.values() for group in one.param_groups for p in group["params"]}
    if left := [name for name, parameter in parameters.items() if id(parameter) not in held]:
        raise own.Fault(f"{own.line_of(part)}: leaves out {left[0]} and {len(left) - 1} others")
    return found


def handed_in(part: Any) -> int:
    """How many arguments stand before the settings."""
    return 1 if isinstance(part, type) else 2
