"""Working weights: bf16 copies of the masters, refreshed once per update instead of per micro-step.

Outside `refreshed` a weight is cast where it is used. Within, each module's copy is allocated once
per model, filled at the beginning, and used by every micro-step; gradients reach the masters
either way, in the masters' dtype. May not know of layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

FULL_PRECISION = ("norm", "router")
"""The roles that compute with their masters."""


class _Working(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, master: Tensor, copy: Tensor) -> Tensor:
        ctx.dtype = master.dtype
        return copy.view_as(copy)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.to(ctx.dtype), None


def cast(module: nn.Module, name: str, dtype: torch.dtype) -> Tensor:
    """A module's weight in the compute dtype, differentiable towards its master."""
    master: Tensor = getattr(module, name)
    copy = copy_of(module, name, dtype)
    return master.to(dtype) if copy is None else _Working.apply(master, copy)


def copy_of(module: nn.Module, name: str, dtype: torch.dtype) -> Tensor | None:
    """A weight's working copy, where there is one in that dtype; not differentiable."""
    copies: dict[str, Tensor] | None = getattr(module, "working", None)
    if copies is None or not torch.is_grad_enabled():
        return None
    copy = copies.get(name)
    return copy if copy is not None and copy.dtype == dtype else None


@contextmanager
def refreshed(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within, the matrices of `model` are used through copies of their values at the beginning.

    Nothing may change the masters inside. The copies' memory is kept for the next time.
    """
    owners: list[Any] = [module for module in model.modules() if hasattr(module, "own_roles")]
    masters, copies = [], []
    for module in owners:
        kept: dict[str, Tensor] = getattr(module, "kept_copies", {})
        for name, role in module.own_roles.items():
            master: Tensor = getattr(module, name)
            if role.kind in FULL_PRECISION or master.dtype == dtype:
                continue
            if name not in kept or kept[name].device != master.device:
                kept[name] = torch.empty_like(master, dtype=dtype, requires_grad=False)
            masters.append(master.detach())
            copies.append(kept[name])
        module.kept_copies = kept
        module.working = kept
    if copies:
        torch._foreach_copy_(copies, masters)
    try:
        yield
    finally:
        for module in owners:
            module.working = None
