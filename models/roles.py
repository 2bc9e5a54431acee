"""What a parameter is to an optimizer, declared by the module that owns it.

Nobody matches names: a module lists its own parameters in `own_roles`, and `collect` gathers
them. May not know any model or optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

Kind = Literal["matrix", "expert", "embedding", "head", "router", "norm"]


@dataclass(frozen=True)
class Role:
    """What one parameter is, and which matrices it holds.

    Every parameter ends in two dimensions (rows = outputs, columns = inputs), but for `norm`,
    which is a vector. `slices` are the row counts of the separate matrices stored fused along
    dimension -2, a single entry where nothing is fused, and empty for a norm. A parameter of kind
    `expert` has one more dimension in front, (experts, rows, columns): each expert, and within it
    each slice, is a matrix of its own. So

        matrices = [m for part in parameter.split(role.slices, dim=-2)
                      for m in (part.unbind(0) if part.ndim == 3 else [part])]

    are views of all separate matrices of any parameter that is not a norm.
    """

    kind: Kind
    slices: tuple[int, ...] = ()
    kept: bool = False
    """Whether it begins as its module built it, not by the model's rule."""


def collect(module: nn.Module) -> dict[str, Role]:
    """The role of every parameter, under the names of `named_parameters`.

    Raises ValueError where a module left one of its own parameters undeclared.
    """
    roles: dict[str, Role] = {}
    for prefix, owner in module.named_modules():
        own: dict[str, Role] = getattr(owner, "own_roles", {})
        for name, _ in owner.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            if name not in own:
                raise ValueError(f"{type(owner).__name__} declares no role for '{full}'")
            roles[full] = own[name]
    return roles
