# mypy: allow-incomplete-defs
"""Products of row groups with a matrix each, in one launch: the mixture of experts' product.

For GPUs on which torch's own grouped product is a loop of products that waits for the device to
tell it the group ends (sm_89; from sm_90 torch has its own). Why it could help there: 8 experts
make 8 small products a matrix, forward, and 16 backward, each of which fills the GPU badly, and
the wait drains the queue of launches once a matrix. The arithmetic is the same, so the prediction
is the roofline's time against the loop's: at 16,384 routed rows of 576 × 768 that is 90 µs a
product on an RTX 4090, about what launching it in eight pieces costs beside it.

The grid is fixed from shapes alone: so many tiles as the worst division of rows into groups can
need. A program finds its group from `ends` on the device, and the few that find none return.
Backward, the input's gradient is the same kernel with the weights' dimensions exchanged; the
weights' gradient sums over each group's rows in one program a tile, in a fixed order.
May not know of routing.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.launching import INTERPRETED, TritonKernel, accumulator


@triton.jit
def grouped_product(
    x_ptr, weights_ptr, ends_ptr, y_ptr, group_stride, k_stride, n_stride,
    K: tl.constexpr, N: tl.constexpr, GROUPS: tl.constexpr, ACC: tl.constexpr,
    WIDEN: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """One tile (BM, BN) of x (rows, K) times its group's (K, N): a program each."""
    columns: tl.constexpr = (N + BN - 1) // BN
    # Neighbours share their rows of x, and walk the columns of one group's weights.
    tile = tl.program_id(0) // columns
    group, first, stop, before, start = -1, 0, 0, 0, 0
    for g in range(GROUPS):
        end = tl.load(ends_ptr + g)
        tiles = (end - start + BM - 1) // BM
        here = (tile >= before) & (tile < before + tiles)
        group = tl.where(here, g, group)
        first = tl.where(here, start + (tile - before) * BM, first)
        stop = tl.where(here, end, stop)
        before += tiles
        start = end
    if group >= 0:
        row = first + tl.arange(0, BM)
        column = tl.program_id(0) % columns * BN + tl.arange(0, BN)
        inner = tl.arange(0, BK)
        x_at = x_ptr + row.to(tl.int64)[:, None] * K + inner[None, :]
        w_at = (
            weights_ptr + tl.cast(group, tl.int64) * group_stride
            + inner[:, None] * k_stride + column[None, :] * n_stride
        )  # fmt: skip
        total = tl.zeros((BM, BN), ACC)
        for k in tl.range(0, K, BK):
            x = tl.load(x_at, (row < stop)[:, None] & (k + inner < K)[None, :], other=0.0)
            w = tl.load(w_at, (k + inner < K)[:, None] & (column < N)[None, :], other=0.0)
            if WIDEN:
                x, w = x.to(ACC), w.to(ACC)
            total = tl.dot(x, w, total, input_precision="ieee", out_dtype=ACC)
            x_at += BK
            w_at += BK * k_stride
        y_at = y_ptr + row.to(tl.int64)[:, None] * N + column[None, :]
        inside = (row < stop)[:, None] & (column < N)[None, :]
        tl.store(y_at, total.to(y_ptr.dtype.element_ty), inside)


@triton.jit
def grouped_weight_gradient(
    grad_ptr, x_ptr, ends_ptr, grad_weights_ptr,
    OUT: tl.constexpr, IN: tl.constexpr, ACC: tl.constexpr,
    WIDEN: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """One tile (BM, BN) of a group's (OUT, IN), summed over the group's rows: a program each."""
    columns: tl.constexpr = (IN + BN - 1) // BN
    group = tl.program_id(1)
    start = tl.load(ends_ptr + group - 1, group > 0, other=0)
    stop = tl.load(ends_ptr + group)
    out = tl.program_id(0) // columns * BM + tl.arange(0, BM)
    column = tl.program_id(0) % columns * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), ACC)
    for first in tl.range(start, stop, BK):
        row = first + inner
        wide = row.to(tl.int64)
        grad = tl.load(
            grad_ptr + wide[None, :] * OUT + out[:, None],
            (out < OUT)[:, None] & (row < stop)[None, :], other=0.0,
        )  # fmt: skip
        x = tl.load(
            x_ptr + wide[:, None] * IN + column[None, :],
            (row < stop)[:, None] & (column < IN)[None, :], other=0.0,
        )  # fmt: skip
        if WIDEN:
            grad, x = grad.to(ACC), x.to(ACC)
        total = tl.dot(grad, x, total, input_precision="ieee", out_dtype=ACC)
    # A group without rows stores its zeros.
    at = (group.to(tl.int64) * OUT + out)[:, None] * IN + column[None, :]
    inside = (out < OUT)[:, None] & (column < IN)[None, :]
    tl.store(grad_weights_ptr + at, total.to(grad_weights_ptr.dtype.element_ty), inside)


_CONFIGS = [
    triton.Config({"BM": m, "BN": n, "BK": k}, num_warps=warps, num_stages=stages)
    for m, n, k, warps, stages in [
        # Each is built three times before a first update ends: few, and far apart.
        (64, 64, 64, 4, 3), (64, 128, 64, 4, 3), (128, 64, 64, 4, 3), (128, 128, 32, 4, 3),
        (128, 128, 64, 8, 3), (128, 128, 64, 8, 4), (128, 256, 64, 8, 3), (128, 256, 64, 8, 4),
    ]
]  # fmt: skip
_INTERPRETED = {"BM": 64, "BN": 128, "BK": 128}
PRODUCT = TritonKernel(grouped_product, _CONFIGS, ["K", "N", "k_stride"], _INTERPRETED)
WEIGHT_GRADIENT = TritonKernel(grouped_weight_gradient, _CONFIGS, ["OUT", "IN"], _INTERPRETED)


def grouped_gemm_reference(x: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Row i of x times the matrix of its group, transposed: (n, outputs).

    x (n, inputs); weights (groups, outputs, inputs) in x's dtype; ends (groups,) int32, where
    each group's rows end: group g is rows ends[g-1] .. ends[g]-1, and ends[-1] is n.
    """
    stops = ends.tolist()
    starts = [0, *stops[:-1]]
    products = [x[a:b] @ w.T for w, a, b in zip(weights, starts, stops, strict=True)]
    return torch.cat(products)


def grouped_gemm(x: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """`grouped_gemm_reference` in one launch, without waiting for the device.

    Same shapes; sums in fp32. Raises ValueError where the inputs or the dtypes differ.
    """
    if x.shape[-1] != weights.shape[-1] or x.dtype != weights.dtype:
        raise ValueError(
            f"x {tuple(x.shape)} {x.dtype} does not go with weights (groups, outputs, inputs) "
            f"{tuple(weights.shape)} {weights.dtype}"
        )
    return torch.ops.smol.grouped_gemm(x, weights, ends)


def _product(x: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """x (n, k) with weights (groups, n_out, k), of any strides."""
    x = x.contiguous()
    (rows, k), (groups, n, _) = x.shape, weights.shape
    y = x.new_empty(rows, n)
    if rows:
        PRODUCT.launch(
            # The sum over groups of ceil(rows / BM) is at most so many.
            lambda meta: ((rows // meta["BM"] + groups) * triton.cdiv(n, meta["BN"]),),
            x_ptr=x, weights_ptr=weights, ends_ptr=ends, y_ptr=y, group_stride=weights.stride(0),
            k_stride=weights.stride(2), n_stride=weights.stride(1), K=k, N=n, GROUPS=groups,
            ACC=accumulator(x.dtype), WIDEN=INTERPRETED,
        )  # fmt: skip
    return y


@torch.library.custom_op("smol::grouped_gemm", mutates_args=())
def _grouped_gemm(x: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    return _product(x, weights, ends)


@_grouped_gemm.register_fake
def _(x: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weights.shape[1])


@torch.library.custom_op("smol::grouped_gemm_backward", mutates_args=())
def _grouped_gemm_backward(
    grad: Tensor, x: Tensor, weights: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor]:
    grad, x = grad.contiguous(), x.contiguous()
    grad_x = _product(grad, weights.transpose(1, 2), ends)
    groups, out, inputs = weights.shape
    grad_weights = torch.empty_like(weights, memory_format=torch.contiguous_format)
    WEIGHT_GRADIENT.launch(
        lambda meta: (triton.cdiv(out, meta["BM"]) * triton.cdiv(inputs, meta["BN"]), groups),
        grad_ptr=grad, x_ptr=x, ends_ptr=ends, grad_weights_ptr=grad_weights, OUT=out, IN=inputs,
        ACC=accumulator(x.dtype), WIDEN=INTERPRETED,
    )  # fmt: skip
    return grad_x, grad_weights


@_grouped_gemm_backward.register_fake
def _(grad: Tensor, x: Tensor, weights: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    return (
        x.new_empty(x.shape),
        torch.empty_like(weights, memory_format=torch.contiguous_format),
    )


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return *torch.ops.smol.grouped_gemm_backward(grad, *ctx.saved_tensors), None


torch.library.register_autograd("smol::grouped_gemm", _differentiate, setup_context=_save)
