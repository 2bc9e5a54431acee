# mypy: allow-incomplete-defs
"""RMSNorm, alone and with the residual's addition before it, each in one pass over memory.

Why it could help: the norm does no work to speak of, it only moves memory. Op after op, torch's
eager path moves 56 bytes an element in bf16, forward and backward (the addition, the cast to fp32,
the fp32 norm, the cast back, and the same in reverse); fused it is 16: the two summands in, the
sum and the normed row out, then both gradients and the sum in and one gradient out. That predicts
2/7 of eager's time. Inductor fuses the same chain by itself: against a compiled block the
prediction is a tie forward, and backward a gain only where it splits the weight's gradient off.

Backward, one program a row block on every processor loops over rows and keeps its share of the
weight's gradient in registers; the shares are summed by torch, in a fixed order.
May not know of models. n stands for rows: all leading dimensions together.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.dtypes import reduction_dtype
from models.kernels.launching import TritonKernel, accumulator, persistent_programs

PROGRAMS_A_PROCESSOR = 4
"""How many programs the backward pass starts a processor: more hide latency better, and write more
shares of the weight's gradient (w fp32 values each, against n w / programs values of work)."""


@triton.jit
def rms_norm_forward(
    x_ptr, residual_ptr, weight_ptr, sum_ptr, y_ptr, rstd_ptr, rows,
    WIDTH: tl.constexpr, EPS: tl.constexpr, ADD: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """ROWS rows: the sum with the residual where ADD, its norm, and 1 / rms for later."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (column < WIDTH)[None, :]
    at = row[:, None] * WIDTH + column[None, :]
    x = tl.load(x_ptr + at, inside, other=0.0).to(ACC)
    if ADD:
        # Rounded as it is stored: the norm is of the residual that the next layer sees.
        x += tl.load(residual_ptr + at, inside, other=0.0).to(ACC)
        rounded = x.to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + at, rounded, inside)
        x = rounded.to(ACC)
    rstd = tl.rsqrt(tl.sum(x * x, 1) / WIDTH + tl.full((), EPS, ACC))
    weight = tl.load(weight_ptr + column, column < WIDTH, other=0.0).to(ACC)
    y = x * rstd[:, None] * weight[None, :]
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), inside)
    tl.store(rstd_ptr + row, rstd, row < rows)


@triton.jit
def rms_norm_backward(
    grad_ptr, grad_sum_ptr, x_ptr, weight_ptr, rstd_ptr, grad_x_ptr, shares_ptr, rows,
    WIDTH: tl.constexpr, ADD: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """A program's part of all rows, ROWS at a time: gradients by x, a share of the weight's."""
    program = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    weight = tl.load(weight_ptr + column, column < WIDTH, other=0.0).to(ACC)
    share = tl.zeros((BLOCK,), ACC)
    for start in tl.range(program * ROWS, rows, tl.num_programs(0) * ROWS):
        row = (start + tl.arange(0, ROWS)).to(tl.int64)
        inside = (row < rows)[:, None] & (column < WIDTH)[None, :]
        at = row[:, None] * WIDTH + column[None, :]
        grad = tl.load(grad_ptr + at, inside, other=0.0).to(ACC)
        rstd = tl.load(rstd_ptr + row, row < rows, other=0.0)[:, None]
        normed = tl.load(x_ptr + at, inside, other=0.0).to(ACC) * rstd
        # y = w x r with r = (mean(x²) + eps)^-1/2, dr/dx = -r³ x / width, hence
        # dx = r (w g - x̂ mean(w g x̂)) with x̂ = x r.
        scaled = grad * weight[None, :]
        grad_x = (scaled - normed * (tl.sum(scaled * normed, 1) / WIDTH)[:, None]) * rstd
        if ADD:
            grad_x += tl.load(grad_sum_ptr + at, inside, other=0.0).to(ACC)
        tl.store(grad_x_ptr + at, grad_x.to(grad_x_ptr.dtype.element_ty), inside)
        share += tl.sum(grad * normed, 0)
    tl.store(shares_ptr + program * WIDTH + column, share, column < WIDTH)


_CONFIGS = [
    triton.Config({"ROWS": rows}, num_warps=warps, num_stages=1)
    for rows, warps in [(1, 1), (1, 2), (1, 4), (2, 4), (4, 4), (8, 8), (16, 8)]
]
FORWARD = TritonKernel(rms_norm_forward, _CONFIGS, ["WIDTH", "ADD"], {"ROWS": 16})
BACKWARD = TritonKernel(rms_norm_backward, _CONFIGS, ["WIDTH", "ADD"], {"ROWS": 4})


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight (arXiv 1910.07467, eq. 4), in at least fp32.

    x (..., width); weight (width,) of any floating dtype; the result in x's.
    """
    wide = reduction_dtype(x.dtype)
    y = torch.nn.functional.rms_norm(x.to(wide), weight.shape, weight.to(wide), eps)
    return y.to(x.dtype)


def add_rms_norm_reference(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """(residual + x, rms_norm of it): x and residual (..., width), weight (width,)."""
    total = residual + x
    return total, rms_norm_reference(total, weight, eps)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`rms_norm_reference` in one kernel: (..., width) -> the same shape and dtype."""
    return torch.ops.smol.rms_norm(x, weight, eps)[0]


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`add_rms_norm_reference` in one kernel: (new residual, normed), each (..., width)."""
    total, y, _ = torch.ops.smol.add_rms_norm(x, residual, weight, eps)
    return total, y


def _forward(
    x: Tensor, residual: Tensor | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    x = x.contiguous()
    width, rows = x.shape[-1], x.numel() // x.shape[-1]
    y, total = torch.empty_like(x), x if residual is None else torch.empty_like(x)
    rstd = x.new_empty(rows, dtype=reduction_dtype(x.dtype))
    if rows:
        FORWARD.launch(
            lambda meta: (triton.cdiv(rows, meta["ROWS"]),),
            x_ptr=x, residual_ptr=x if residual is None else residual.contiguous(),
            weight_ptr=weight, sum_ptr=total, y_ptr=y, rstd_ptr=rstd, rows=rows, WIDTH=width,
            EPS=eps, ADD=residual is not None, ACC=accumulator(x.dtype),
            BLOCK=triton.next_power_of_2(width),
        )  # fmt: skip
    return total, y, rstd


def _backward(
    grad: Tensor, grad_sum: Tensor | None, x: Tensor, weight: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    x, grad = x.contiguous(), grad.contiguous()
    width, rows = x.shape[-1], x.numel() // x.shape[-1]
    grad_x = torch.empty_like(x)
    programs = persistent_programs(x, PROGRAMS_A_PROCESSOR)
    shares = rstd.new_empty(programs, width)
    BACKWARD.launch(
        lambda meta: (programs,),
        grad_ptr=grad, grad_sum_ptr=grad if grad_sum is None else grad_sum.contiguous(), x_ptr=x,
        weight_ptr=weight, rstd_ptr=rstd, grad_x_ptr=grad_x, shares_ptr=shares, rows=rows,
        WIDTH=width, ADD=grad_sum is not None, ACC=accumulator(x.dtype),
        BLOCK=triton.next_power_of_2(width),
    )  # fmt: skip
    return grad_x, shares.sum(0).to(weight.dtype)


def _fake_rstd(x: Tensor) -> Tensor:
    rows = x.numel() // x.shape[-1]
    return x.new_empty(rows, dtype=reduction_dtype(x.dtype))


def _like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("smol::rms_norm", mutates_args=())
def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    _, y, rstd = _forward(x, None, weight, eps)
    return y, rstd


@_rms_norm.register_fake
def _(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return _like(x), _fake_rstd(x)


@torch.library.custom_op("smol::rms_norm_backward", mutates_args=())
def _rms_norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    return _backward(grad, None, x, weight, rstd)


@_rms_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    return _like(x), torch.empty_like(weight)


@torch.library.custom_op("smol::add_rms_norm", mutates_args=())
def _add_rms_norm(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _forward(x, residual, weight, eps)


@_add_rms_norm.register_fake
def _(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return _like(x), _like(x), _fake_rstd(x)


@torch.library.custom_op("smol::add_rms_norm_backward", mutates_args=())
def _add_rms_norm_backward(
    grad: Tensor, grad_sum: Tensor, total: Tensor, weight: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    return _backward(grad, grad_sum, total, weight, rstd)


@_add_rms_norm_backward.register_fake
def _(
    grad: Tensor, grad_sum: Tensor, total: Tensor, weight: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    return _like(total), torch.empty_like(weight)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output[1])


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
    return *torch.ops.smol.rms_norm_backward(grad, *ctx.saved_tensors), None


def _add_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[0], inputs[2], output[2])


def _add_differentiate(
    ctx: Any, grad_sum: Tensor, grad: Tensor, _: Tensor
) -> tuple[Tensor, Tensor, Tensor, None]:
    both, grad_weight = torch.ops.smol.add_rms_norm_backward(grad, grad_sum, *ctx.saved_tensors)
    return both, both, grad_weight, None


torch.library.register_autograd("smol::rms_norm", _differentiate, setup_context=_save)
torch.library.register_autograd("smol::add_rms_norm", _add_differentiate, setup_context=_add_save)
