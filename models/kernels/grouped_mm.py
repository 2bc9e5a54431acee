"""Matrix products of row groups with a matrix each: the mixture of experts' product.

`grouped_mm` picks the way: on CUDA torch's own grouped product where the card has one, else ours in
Triton (torch's is a loop there, which waits for the device 180 times in a micro-step of 30 layers);
a loop of matrix products into preallocated outputs elsewhere. The loop is registered as an
operator, so that torch.compile keeps the graph whole although the loop reads the group ends. May
not know of routing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNMENT_BYTES = 16
"""torch's grouped product wants every row to start at a multiple of this."""

GPU = ("cuda", "meta")
"""Tensors of these kinds take a GPU's way; `meta` has shapes alone, by which the way is counted."""
OWN_PRODUCTS = (9, 10)
"""Major compute capabilities for which torch 2.13 has a grouped product that does not wait."""


# A constant to torch.compile, which would trace the question, and could not the import.
@torch.compiler.assume_constant_result
def has_grouped_products(device: torch.device) -> bool:
    """Whether torch multiplies groups on this device without reading their ends on the host."""
    try:
        return torch.cuda.get_device_capability(device)[0] in OWN_PRODUCTS
    except (RuntimeError, AssertionError, ValueError):  # no such device: shapes alone
        return False


@torch.compiler.assume_constant_result
def has_ours() -> bool:
    """Whether our product in Triton is there, as it is where Triton is."""
    try:
        import models.kernels.grouped_gemm  # noqa: F401 - registers the operator
    except ModuleNotFoundError:
        return False
    return True


def grouped_mm(x: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Row i of x times the matrix of its group, transposed: (n, outputs).

    x (n, inputs); weights (groups, outputs, inputs) in x's dtype; ends (groups,) int32, where
    each group's rows end: group g is rows ends[g-1] .. ends[g]-1, none where they are equal, and
    ends[-1] is n.
    """
    if x.device.type in GPU:
        if _fits_torch(x, weights) and has_grouped_products(x.device):
            return F.grouped_mm(x, weights.transpose(-2, -1), offs=ends)
        if x.dtype != torch.float64 and has_ours():
            return torch.ops.smol.grouped_gemm(x, weights, ends)
    return torch.ops.smol.grouped_mm_loop(x, weights, ends)


def _fits_torch(x: Tensor, weights: Tensor) -> bool:
    rows = (x.shape[-1], weights.shape[-2])
    aligned = all(size * x.element_size() % ALIGNMENT_BYTES == 0 for size in rows)
    return x.dtype == torch.bfloat16 and aligned


def _ranges(ends: Tensor) -> list[tuple[int, int]]:
    stops = ends.tolist()
    return list(zip([0, *stops[:-1]], stops, strict=True))


@torch.library.custom_op("smol::grouped_mm_loop", mutates_args=())
def _loop(x: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    out = x.new_empty(x.shape[0], weights.shape[1])
    for weight, (start, stop) in zip(weights, _ranges(ends), strict=True):
        if stop > start:
            torch.mm(x[start:stop], weight.T, out=out[start:stop])
    return out


@_loop.register_fake
def _(x: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weights.shape[1])


@torch.library.custom_op("smol::grouped_mm_loop_backward", mutates_args=())
def _loop_backward(grad: Tensor, x: Tensor, weights: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    grad = grad.contiguous()
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    grad_weights = torch.empty_like(weights, memory_format=torch.contiguous_format)
    for group, (start, stop) in enumerate(_ranges(ends)):
        if stop > start:
            torch.mm(grad[start:stop], weights[group], out=grad_x[start:stop])
            torch.mm(grad[start:stop].T, x[start:stop], out=grad_weights[group])
        else:
            grad_weights[group].zero_()
    return grad_x, grad_weights


@_loop_backward.register_fake
def _(grad: Tensor, x: Tensor, weights: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(x, memory_format=torch.contiguous_format),
        torch.empty_like(weights, memory_format=torch.contiguous_format),
    )


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    grad_x, grad_weights = torch.ops.smol.grouped_mm_loop_backward(grad, *ctx.saved_tensors)
    return grad_x, grad_weights, None


torch.library.register_autograd("smol::grouped_mm_loop", _backward, setup_context=_save)
