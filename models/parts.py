"""Which attention and which feed-forward a block has: ours by the files of two folders, or one that
the configuration brings.

Ours cast their own weights and declare their own roles. Of any other module the weights are cast
here, to the activations' dtype, and its roles follow from shapes unless it declares them.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from models import own
from models.config import ModelConfig, Part
from models.ops import Ops
from models.roles import Role
from models.working import cast


def feed_forward(config: ModelConfig, ops: Ops) -> nn.Module:
    """The one that `feed_forward` names, else the one that the sizes imply."""
    if config.feed_forward.name:
        return Own(config.feed_forward, config, ops)
    return _ours("feed_forwards", "experts" if config.is_moe else config.activation, config, ops)


def attention(config: ModelConfig, ops: Ops) -> nn.Module:
    """The one that `attention` names, else grouped-query attention."""
    if config.attention.name:
        return Own(config.attention, config, ops)
    return _ours("attentions", "grouped_query", config, ops)


def _ours(folder: str, name: str, config: ModelConfig, ops: Ops) -> nn.Module:
    module = importlib.import_module(f"models.{folder}.{name}")
    (found,) = (
        one
        for one in vars(module).values()
        if inspect.isclass(one) and one.__module__ == module.__name__ and issubclass(one, nn.Module)
    )
    made: nn.Module = found(config, ops)
    return made


class Own(nn.Module):
    """A module that is not ours, in the place of one of ours."""

    def __init__(self, part: Part, config: ModelConfig, ops: Ops) -> None:
        """Calls the part's class with the configuration, its settings, and `ops` if it asks for
        them. Raises `own.Fault` where there is no such class, and whatever its code raises.
        """
        super().__init__()
        made = own.load(part.name, part.code)
        handed = {"ops": ops} if "ops" in inspect.signature(made).parameters else {}
        built: Any = made(config, **handed, **own.arguments(part.settings))
        if not isinstance(built, nn.Module):
            raise own.Fault(
                f"{own.line_of(made)}: gives {type(built).__name__}, not a torch.nn.Module"
            )
        self.part = built
        taken = inspect.signature(built.forward).parameters
        self._extra = [name for name in ("rotary", "borders", "cache") if name in taken]
        self._cast = _declare_roles(built)

    def forward(self, x: Tensor, *others: Any) -> Any:
        """(b, s, width) -> (b, s, width). An attention's rotary angles, borders and cache go to a
        part that asks for them by these names.

        Raises ValueError for a cache or borders that a part would not see.
        """
        given = dict(zip(("rotary", "borders", "cache"), others, strict=False))
        for name in ("borders", "cache"):
            if given.get(name) is not None and name not in self._extra:
                raise ValueError(f"{type(self.part).__name__}.forward takes no `{name}`")
        weights = {full: cast(owner, name, x.dtype) for full, owner, name in self._cast}
        extra = {name: given.get(name) for name in self._extra}
        return functional_call(self.part, weights, (x,), extra)


def _declare_roles(part: nn.Module) -> list[tuple[str, nn.Module, str]]:
    """Give each parameter that has no role one: as `part.roles()` says, else a matrix where it
    has two dimensions, and a vector that keeps the value it was built with where it has not.

    Returns those parameters: full name, owner, name there.
    """
    declared: Any = getattr(part, "roles", dict)
    said: dict[str, Any] = declared()
    found = []
    for prefix, owner in part.named_modules():
        if hasattr(owner, "own_roles"):
            continue
        roles = {}
        for name, parameter in owner.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            role: Any = said.get(full, "matrix" if parameter.ndim == 2 else "norm")
            if not isinstance(role, Role):
                rows = () if role == "norm" else (parameter.shape[-2],)
                role = Role(role, rows, kept=role == "norm")
            roles[name] = role
            found.append((full, owner, name))
        owner.own_roles = roles
    return found
