"""Muon: momentum, orthogonalised by Newton-Schulz, for the matrices inside blocks; AdamW for the
rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from harness.config import OptimConfig
from harness.optim import groups, stacked
from harness.optim.newton_schulz import HALVED_ROWS, orthogonalise
from harness.optim.optimizers import adamw
from harness.optim.peers import Peers, shares
from models.dtypes import DTYPES
from models.roles import Role

FIELDS = ("muon_", "adamw_")
LAUNCHES_A_MATRIX = 30
"""Assumed: the iterations and what is around them."""


def build(
    config: OptimConfig, parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> dict[str, torch.optim.Optimizer]:
    """Muon over the matrices inside blocks, AdamW over everything else."""
    inner, rest = groups.inner_and_rest(parameters, roles)
    muon = Muon(
        list(inner.values()),
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
    return {"muon": muon, **adamw.build(config, rest, roles)}


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) with decoupled weight decay.

    For every parameter: m <- momentum m + (1 - momentum) g; with Nesterov the direction is
    (1 - momentum) g + momentum m, else m. Each matrix of the direction is orthogonalised on its
    own, scaled, and subtracted: w <- w (1 - lr decay) - lr scale O.

    A parameter is (rows, cols), with `slices` naming the rows of matrices that are stored fused,
    or (experts, rows, cols), every expert a matrix.
    """

    def __init__(  # noqa: PLR0913 - torch's optimizers take their settings one by one
        self,
        params: Sequence[torch.nn.Parameter],
        slices: Sequence[Sequence[int]],
        *,
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        ns_iterations: int,
        ns_coefficients: tuple[float, float, float],
        ns_eps: float,
        ns_dtype: torch.dtype,
        scale: Literal["spectral", "rms"],
    ) -> None:
        """`slices[i]` holds the row counts of the matrices of `params[i]`; they sum to its rows.

        Raises ValueError for a parameter that is no matrix or whose slices do not add up.
        """
        for parameter, rows in zip(params, slices, strict=True):
            if parameter.ndim not in (2, 3):
                raise ValueError(f"Muon takes matrices, not a shape of {tuple(parameter.shape)}")
            if sum(rows) != parameter.size(-2):
                raise ValueError(f"slices {tuple(rows)} do not sum to {parameter.size(-2)} rows")
        defaults: dict[str, Any] = dict(lr=lr, momentum=momentum, weight_decay=weight_decay)
        super().__init__(list(params), defaults)
        self.peers: Peers | None = None
        """The processes that take each step together: each does its share of the iterations."""
        self.slices = [tuple(rows) for rows in slices]
        self.nesterov = nesterov
        self._scale = scale
        self.newton_schulz: dict[str, Any] = dict(
            iterations=ns_iterations, coefficients=ns_coefficients, eps=ns_eps, dtype=ns_dtype
        )

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One optimizer step; a parameter without a gradient is left alone."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        (group,) = self.param_groups
        alone = self.peers is None or self.peers.count == 1
        if alone and group["params"][0].device.type in stacked.GPU:
            stacked.step(self, group)
            return None
        matrices = list(self._matrices(group))
        if self.peers is None or self.peers.count == 1:
            for weight, gradient, average in matrices:
                direction = self._direction(gradient, average, group)
                self._move(weight, orthogonalise(direction, **self.newton_schulz), group)
            return None
        # Where it is another's the update is 0, so that the sum is exact, and the same for all.
        owners = shares([_work(weight) for weight, _, _ in matrices], self.peers.count)
        updates = []
        for owner, (_, gradient, average) in zip(owners, matrices, strict=True):
            direction = self._direction(gradient, average, group)
            mine = owner == self.peers.rank
            updates.append(
                orthogonalise(direction, **self.newton_schulz)
                if mine
                else torch.zeros_like(direction, dtype=self.newton_schulz["dtype"])
            )
        self.peers.add_up(updates)
        for (weight, _, _), orthogonal in zip(matrices, updates, strict=True):
            self._move(weight, orthogonal, group)
        return None

    def _matrices(self, group: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Weight, gradient and momentum, (..., rows, cols), of what takes a step together."""
        for parameter, rows in zip(group["params"], self.slices, strict=True):
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            yield from zip(
                *(taken_together(x, rows) for x in (parameter, gradient, state["momentum"])),
                strict=True,
            )

    def _direction(self, gradient: Tensor, average: Tensor, group: dict[str, Any]) -> Tensor:
        """The momentum with this gradient, in place, and the direction of the step."""
        momentum = group["momentum"]
        average.lerp_(gradient, 1.0 - momentum)
        return gradient.lerp(average, momentum) if self.nesterov else average

    def _move(self, weight: Tensor, orthogonal: Tensor, group: dict[str, Any]) -> None:
        """One step of (..., rows, cols), in place."""
        if group["weight_decay"]:
            weight.mul_(1.0 - group["lr"] * group["weight_decay"])
        # Widened first: a sum of two dtypes takes a slow path on the CPU.
        weight.add_(orthogonal.to(weight.dtype), alpha=-group["lr"] * self.scale_of(weight))

    def scale_of(self, weight: Tensor) -> float:
        """The factor on the orthogonal update of a (..., rows, cols) weight."""
        rows, cols = weight.shape[-2:]
        if self._scale == "spectral":
            return max(1.0, rows / cols) ** 0.5
        return 0.2 * max(rows, cols) ** 0.5


def _work(weight: Tensor) -> int:
    """Multiplications of one product of the iterations, but for a factor."""
    return weight.numel() * min(weight.shape[-2:])


def taken_together(x: Tensor, slices: tuple[int, ...]) -> Iterator[Tensor]:
    """The matrices of a parameter or its gradient as views, (rows, cols) or a batch of equals,
    (matrices, rows, cols), that take a step together.

    Small ones share their products. On the CPU a large one goes alone, so that every pass over it
    finds it in the cache that the last one left it in.
    """
    start = 0
    for rows, alike in groupby(slices):
        count = len(list(alike))
        part = x.narrow(-2, start, count * rows).unflatten(-2, (count, rows))
        start += count * rows
        alone = not x.is_cuda and min(rows, x.size(-1)) >= HALVED_ROWS
        # Of experts (experts, count, rows, cols), else (count, rows, cols).
        for batch in part.unbind(1) if x.ndim == 3 else (part,):
            yield from batch.unbind(0) if alone or count == len(batch) == 1 else (batch,)
