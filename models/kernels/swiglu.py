# mypy: allow-incomplete-defs
"""silu(gate) · up in one pass, of the two halves of a fused projection.

Why it could help: eager moves five elements forward (gate in, silu out and in, up in, product
out) and nine backward, where three and five suffice: predicted 4/7 of eager's time in this op.
Inductor fuses it as well, so against a compiled block the prediction is a tie, but for two things:
silu is rounded once less, and both halves of the gradient are written in place, where autograd
concatenates them (another four elements). silu is computed again in the backward pass: reading two
inputs again is cheaper than a third tensor kept.
May not know of models. n stands for rows: all leading dimensions together.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.launching import TritonKernel, accumulator


@triton.jit
def swiglu_forward(
    gate_ptr, up_ptr, y_ptr, rows, stride,
    FFN: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK elements of the product."""
    # One dimension over rows and columns together: no lane idles where FFN is no power of two.
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index // FFN < rows
    at = index // FFN * stride + index % FFN
    gate = tl.load(gate_ptr + at, inside, other=0.0).to(ACC)
    up = tl.load(up_ptr + at, inside, other=0.0).to(ACC)
    y = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(y_ptr + index, y.to(y_ptr.dtype.element_ty), inside)


@triton.jit
def swiglu_backward(
    grad_ptr, gate_ptr, up_ptr, grad_gate_ptr, grad_up_ptr, rows, stride,
    FFN: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK elements of both gradients."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index // FFN < rows
    at = index // FFN * stride + index % FFN
    grad = tl.load(grad_ptr + index, inside, other=0.0).to(ACC)
    gate = tl.load(gate_ptr + at, inside, other=0.0).to(ACC)
    up = tl.load(up_ptr + at, inside, other=0.0).to(ACC)
    # silu = z s(z), so silu' = s (1 + z (1 - s)).
    sigmoid = 1.0 / (1.0 + tl.exp(-gate))
    grad_gate = grad * up * sigmoid * (1.0 + gate * (1.0 - sigmoid))
    grad_up = grad * gate * sigmoid
    tl.store(grad_gate_ptr + at, grad_gate.to(grad_gate_ptr.dtype.element_ty), inside)
    tl.store(grad_up_ptr + at, grad_up.to(grad_up_ptr.dtype.element_ty), inside)


_CONFIGS = [
    triton.Config({"BLOCK": block}, num_warps=warps, num_stages=1)
    for block, warps in [(512, 2), (512, 4), (1024, 4), (2048, 4), (2048, 8), (4096, 8)]
]
FORWARD = TritonKernel(swiglu_forward, _CONFIGS, ["FFN"], {"BLOCK": 4096})
BACKWARD = TritonKernel(swiglu_backward, _CONFIGS, ["FFN"], {"BLOCK": 4096})


def swiglu(gate_up: Tensor) -> Tensor:
    """`models.ops.swiglu` in one kernel: (..., 2 · ffn), gate first, -> (..., ffn), fp32 inside.

    Raises ValueError where the last dimension is odd.
    """
    if gate_up.shape[-1] % 2:
        raise ValueError(f"a fused gate and up cannot be {gate_up.shape[-1]} wide: it is odd")
    return torch.ops.smol.swiglu(gate_up)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Gate and up as views, (n, ffn) each, of a contiguous (..., 2 · ffn)."""
    gate, up = x.view(-1, x.shape[-1]).chunk(2, dim=-1)
    return gate, up


@torch.library.custom_op("smol::swiglu", mutates_args=())
def _swiglu(gate_up: Tensor) -> Tensor:
    gate, up = _halves(gate_up.contiguous())
    y = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    if y.numel():
        FORWARD.launch(
            lambda meta: (triton.cdiv(y.numel(), meta["BLOCK"]),),
            gate_ptr=gate, up_ptr=up, y_ptr=y, rows=gate.shape[0], stride=gate.stride(0),
            FFN=gate.shape[1], ACC=accumulator(gate.dtype),
        )  # fmt: skip
    return y.view(*gate_up.shape[:-1], -1)


@_swiglu.register_fake
def _(gate_up: Tensor) -> Tensor:
    return gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2)


@torch.library.custom_op("smol::swiglu_backward", mutates_args=())
def _swiglu_backward(grad: Tensor, gate_up: Tensor) -> Tensor:
    grad_gate_up = torch.empty_like(gate_up, memory_format=torch.contiguous_format)
    (gate, up), (grad_gate, grad_up) = _halves(gate_up.contiguous()), _halves(grad_gate_up)
    if grad.numel():
        BACKWARD.launch(
            lambda meta: (triton.cdiv(grad.numel(), meta["BLOCK"]),),
            grad_ptr=grad.contiguous(), gate_ptr=gate, up_ptr=up, grad_gate_ptr=grad_gate,
            grad_up_ptr=grad_up, rows=gate.shape[0], stride=gate.stride(0), FFN=gate.shape[1],
            ACC=accumulator(gate.dtype),
        )  # fmt: skip
    return grad_gate_up


@_swiglu_backward.register_fake
def _(grad: Tensor, gate_up: Tensor) -> Tensor:
    return torch.empty_like(gate_up, memory_format=torch.contiguous_format)


def _save(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> Tensor:
    return torch.ops.smol.swiglu_backward(grad, *ctx.saved_tensors)


torch.library.register_autograd("smol::swiglu", _differentiate, setup_context=_save)
