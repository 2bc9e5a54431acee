"""Muon's step on a GPU: all matrices of one shape, over all layers, in one batch.

Parameter by parameter a step of SmolLM2-135M is some 7,000 launches of small kernels, which take a
GPU that has nothing else to do longer than the work in them. Stacked by shape it is four batches,
and their arithmetic is compiled. The numbers are those of `muon.Muon`, matrix by matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.optim.newton_schulz import orthogonalise

if TYPE_CHECKING:
    from harness.optim.optimizers.muon import Muon

GPU = ("cuda", "meta")
"""Where it is used; `meta` has shapes alone, by which launches are counted."""
MOST_COMPILED = 8
"""Batches, each of which may be a shape of its own: beyond torch's limit of recompilations it would
refuse to go on. Ours have at most five; a user's own parts may have more."""
MOST_VALUES = 2**27
"""Values of one batch, 512 MB in fp32: with the batch's copies in bf16 and its square matrices
under two gigabytes beside the model."""


@torch.no_grad()
def step(muon: Muon, group: dict[str, Any]) -> None:
    """One step over all parameters that have a gradient, in place."""
    parameters, slices, fresh = [], [], []
    for parameter, rows in zip(group["params"], muon.slices, strict=True):
        if parameter.grad is not None:
            parameters.append(parameter)
            slices.append(rows)
            if not muon.state[parameter]:
                fresh.append(torch.empty_like(parameter))
                muon.state[parameter]["momentum"] = fresh[-1]
    if not parameters:
        return
    if fresh:
        torch._foreach_zero_(fresh)
    gradients = [parameter.grad for parameter in parameters]
    averages = [muon.state[parameter]["momentum"] for parameter in parameters]
    momentum, rate = group["momentum"], group["lr"]
    torch._foreach_lerp_(averages, gradients, 1.0 - momentum)
    directions = averages
    if muon.nesterov:
        directions = list(torch._foreach_lerp(gradients, averages, momentum))
    if group["weight_decay"]:
        torch._foreach_mul_(parameters, 1.0 - rate * group["weight_decay"])
    batches = _batches(parameters, directions, slices)
    compiles = len(batches) <= MOST_COMPILED
    for weights, alike in batches:
        orthogonal = _orthogonal(weights[0].device.type if compiles else "")(
            torch.stack(alike), **muon.newton_schulz
        ).to(weights[0].dtype)
        scale = -rate * muon.scale_of(weights[0])
        torch._foreach_add_(weights, list(orthogonal.unbind(0)), alpha=scale)


def _batches(
    parameters: list[Tensor], directions: list[Tensor], slices: list[tuple[int, ...]]
) -> list[tuple[list[Tensor], list[Tensor]]]:
    """(matrices of parameters, of directions) of one shape each, as views, in an order that depends
    on nothing but the parameters'."""
    found: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
    for parameter, direction, rows in zip(parameters, directions, slices, strict=True):
        for weight, its in zip(matrices(parameter, rows), matrices(direction, rows), strict=True):
            found.setdefault((weight.size(0), weight.size(1)), []).append((weight, its))
    batches = []
    for (rows_, columns), pairs in found.items():
        most = max(1, MOST_VALUES // (rows_ * columns))
        for start in range(0, len(pairs), most):
            part = pairs[start : start + most]
            batches.append(([weight for weight, _ in part], [its for _, its in part]))
    return batches


def matrices(tensor: Tensor, slices: tuple[int, ...]) -> list[Tensor]:
    """The separate matrices (rows, cols) of a parameter, as views; see `models.roles.Role`."""
    parts = tensor.split(list(slices), dim=-2)
    return [one for part in parts for one in (part.unbind(0) if part.ndim == 3 else (part,))]


@cache
def _orthogonal(kind: str) -> Callable[..., Tensor]:
    """Newton-Schulz, compiled once for each shape where there is a device to compile for."""
    if kind == "cuda" and torch.cuda.is_available():
        return torch.compile(orthogonalise, dynamic=False, fullgraph=True)
    return orthogonalise
