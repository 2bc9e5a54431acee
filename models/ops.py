"""Which implementation each op of the trunk uses: torch's own, or a Triton kernel by its name.

Nothing of Triton is imported unless a kernel is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.dtypes import reduction_dtype
from models.kernels import rms_norm_eager
from models.kernels.cross_entropy import linear_cross_entropy, linear_cross_entropy_sum
from models.kernels.grouped_mm import GPU, grouped_mm
from models.kernels.names import KERNELS


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight (arXiv 1910.07467, eq. 4), in at least fp32.

    x (..., width); weight (width,); the result in x's dtype. Where nothing compiles, its gradient
    is taken by hand.
    """
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return rms_norm_eager.rms_norm(x, weight, eps)
    wide = reduction_dtype(x.dtype)
    return F.rms_norm(x.to(wide), weight.shape, weight.to(wide), eps).to(x.dtype)


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(residual + x, its norm), each (..., width)."""
    total = residual + x
    return total, rms_norm(total, weight, eps)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) · up of a fused projection: (..., 2 · ffn), gate first, -> (..., ffn)."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (x_i, x_{i+d/2}): the rotate-half layout, as in transformers' Llama.

    x is (b, s, heads, d), cos and sin (s, 1, d / 2) or (b, s, 1, d / 2); the product is in the
    tables' dtype, the result in x's.
    """
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor, narrow: Tensor | None) -> Tensor:
    """The cross-entropy of all rows, summed, chunk by chunk of logits: on a GPU with the softmax in
    one Triton kernel, where Triton is there, else `linear_cross_entropy_sum`."""
    if hidden.device.type in GPU and (fused := _fused_head()) is not None:
        return fused.head_cross_entropy_sum(hidden, weight, targets)
    return linear_cross_entropy_sum(hidden, weight, targets, narrow)


def head_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The same row by row, without gradient: a GPU does not compute one and throw it away."""
    if hidden.device.type in GPU and (fused := _fused_head()) is not None:
        return fused.head_cross_entropy(hidden, weight, targets)
    return linear_cross_entropy(hidden, weight, targets)


@cache
def _fused_head() -> Any:
    try:
        from models.kernels import head_cross_entropy
    except ModuleNotFoundError:
        return None
    return head_cross_entropy


@dataclass(frozen=True)
class Ops:
    """One implementation of each op; the plain ones unless said otherwise."""

    rms_norm: Callable[[Tensor, Tensor, float], Tensor] = rms_norm
    add_rms_norm: Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]] = add_rms_norm
    swiglu: Callable[[Tensor], Tensor] = swiglu
    rope: Callable[[Tensor, Tensor, Tensor], Tensor] = rotate
    head_cross_entropy_sum: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor] = head_loss
    grouped_mm: Callable[[Tensor, Tensor, Tensor], Tensor] = grouped_mm


def choose(kernels: Sequence[str]) -> Ops:
    """The ops with the named Triton kernels in place.

    Raises ValueError for a name that is not in `KERNELS`, and where Triton is not installed.
    """
    ops = Ops()
    for name in kernels:
        if name not in KERNELS:
            raise ValueError(f"no kernel '{name}': there are {', '.join(KERNELS)}")
    try:
        if "rms_norm" in kernels:
            from models.kernels import rms_norm as norm

            ops = replace(ops, rms_norm=norm.rms_norm, add_rms_norm=norm.add_rms_norm)
        if "swiglu" in kernels:
            from models.kernels import swiglu as gated

            ops = replace(ops, swiglu=gated.swiglu)
        if "rope" in kernels:
            from models.kernels.rope import rope

            ops = replace(ops, rope=rope)
        if "head_cross_entropy" in kernels:
            from models.kernels.head_cross_entropy import head_cross_entropy_sum

            ops = replace(
                ops,
                head_cross_entropy_sum=lambda h, w, t, _: head_cross_entropy_sum(h, w, t),
            )
        if "grouped_gemm" in kernels:
            from models.kernels.grouped_gemm import grouped_gemm

            ops = replace(ops, grouped_mm=grouped_gemm)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the kernels {', '.join(kernels)} need {error.name}, which is not installed"
        ) from None
    return ops
