"""PyTorch's own Muon over the matrices that ours takes, and AdamW, as a peer in comparisons.

`torch.optim.Muon` takes 2-D parameters alone. Matrices stored fused and experts stored stacked are
handed to it one by one, as views of their parameter: it updates them in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, overload

import torch
from torch import Tensor, nn

from harness.config import OptimConfig
from harness.optim import groups
from harness.optim.optimizers import adamw
from models.roles import Role

FIELDS = ("muon_", "adamw_")
FIXED = {"muon_ns_dtype": "bf16"}
LAUNCHES_A_MATRIX = 30
"""Assumed, as of ours."""

ADJUST = {"spectral": "original", "rms": "match_rms_adamw"}
"""Our names for the two scale conventions, and torch's."""


def build(
    config: OptimConfig, parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> dict[str, torch.optim.Optimizer]:
    """PyTorch's Muon over the matrices inside blocks, AdamW over everything else."""
    inner, rest = groups.inner_and_rest(parameters, roles)
    muon = TorchMuon(list(inner.values()), [roles[name].slices for name in inner], config)
    return {"torch-muon": muon, **adamw.build(config, rest, roles)}


def pieces(tensor: Tensor, slices: Sequence[int]) -> list[Tensor]:
    """The separate matrices (rows, cols) of a tensor, as views; see `models.roles.Role`."""
    parts = tensor.split(list(slices), dim=-2)
    return [m for part in parts for m in (part.unbind(0) if part.ndim == 3 else [part])]


class TorchMuon(torch.optim.Muon):
    """`torch.optim.Muon` over views of whole parameters."""

    def __init__(
        self, params: Sequence[nn.Parameter], slices: Sequence[Sequence[int]], config: OptimConfig
    ) -> None:
        """`slices[i]` holds the row counts of the matrices of `params[i]`."""
        self._whole = list(params)
        self._slices = [tuple(rows) for rows in slices]
        self._views = [
            [nn.Parameter(view) for view in pieces(parameter.detach(), rows)]
            for parameter, rows in zip(self._whole, self._slices, strict=True)
        ]
        super().__init__(
            [view for views in self._views for view in views],
            lr=config.muon_lr,
            weight_decay=config.muon_weight_decay,
            momentum=config.muon_momentum,
            nesterov=config.muon_nesterov,
            ns_coefficients=config.muon_ns_coefficients,
            eps=config.muon_ns_eps,
            ns_steps=config.muon_ns_iterations,
            adjust_lr_fn=ADJUST[config.muon_scale],
        )

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One optimizer step; a parameter without a gradient is left alone.

        Raises ValueError for a closure, or where a parameter's storage was replaced since.
        """
        if closure is not None:
            raise ValueError("this Muon takes no closure")
        for parameter, rows, views in zip(self._whole, self._slices, self._views, strict=True):
            if views[0].data_ptr() != parameter.data_ptr():
                raise ValueError("a parameter's storage was replaced after its Muon was built")
            gradient = parameter.grad
            parts = [None] * len(views) if gradient is None else pieces(gradient, rows)
            for view, part in zip(views, parts, strict=True):
                view.grad = part
        # torch's own signature is untyped.
        cast(Any, super()).step()
        for views in self._views:
            for view in views:
                view.grad = None
        return None
