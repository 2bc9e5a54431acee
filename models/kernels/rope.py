# mypy: allow-incomplete-defs
"""Rotary position embedding of queries or keys in one pass, in the rotate-half layout.

Why it could help: eager reads each half twice and writes four products, two sums and their
concatenation, in fp32, before the cast: about 40 bytes an element, where 4 suffice in bf16. It is
the smallest of the five ops: SmolLM2-135M's queries and keys are 768 elements a token and layer,
a sixth of what SwiGLU moves. Inductor fuses it too, the prediction against a compiled block is a
tie. A view of a fused projection that holds query and key heads side by side is turned in one
launch, without a copy of its own. The gradient is the same rotation the other way round.
May not know of models. b batch, s sequence, h heads, d head width.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.launching import TritonKernel, accumulator


@triton.jit
def rope_turn(
    x_ptr, cos_ptr, sin_ptr, y_ptr, rows, stride, positions,
    HEADS: tl.constexpr, HALF: tl.constexpr, SIGN: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """ROWS heads, each turned by the angles of its token's position."""
    # A row is one head of one token; tokens are `stride` apart in x and dense in y.
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (column < HALF)[None, :]
    token = row // HEADS
    x_at = (token * stride + row % HEADS * (2 * HALF))[:, None] + column[None, :]
    y_at = row[:, None] * (2 * HALF) + column[None, :]
    angle_at = (token % positions)[:, None] * HALF + column[None, :]
    cos = tl.load(cos_ptr + angle_at, inside, other=0.0).to(ACC)
    sin = tl.load(sin_ptr + angle_at, inside, other=0.0).to(ACC) * SIGN
    first = tl.load(x_ptr + x_at, inside, other=0.0).to(ACC)
    second = tl.load(x_ptr + x_at + HALF, inside, other=0.0).to(ACC)
    dtype = y_ptr.dtype.element_ty
    tl.store(y_ptr + y_at, (first * cos - second * sin).to(dtype), inside)
    tl.store(y_ptr + y_at + HALF, (second * cos + first * sin).to(dtype), inside)


TURN = TritonKernel(
    rope_turn,
    [
        triton.Config({"ROWS": rows}, num_warps=warps, num_stages=1)
        for rows, warps in [(8, 1), (16, 2), (16, 4), (32, 4), (64, 4), (64, 8), (128, 8)]
    ],
    ["HEADS", "HALF"],
    {"ROWS": 64},
)


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`models.ops.rotate` in one kernel: (b, s, h, d) -> (b, s, h, d), contiguous.

    x may be a view of a wider projection, tokens a fixed stride apart. The angles get no
    gradient. Raises ValueError where x and the angles do not go together.
    """
    if cos.ndim == 4 and cos.shape[:2] == x.shape[:2]:
        # Every token has angles of its own: one long sequence.
        tokens = x.shape[:2]
        turned = rope(x.flatten(0, 1)[None], cos.flatten(0, 1), sin.flatten(0, 1))
        return turned[0].unflatten(0, tokens)
    if cos.shape != (x.shape[1], 1, x.shape[3] // 2) or cos.shape != sin.shape:
        raise ValueError(
            f"x {tuple(x.shape)} wants cosines and sines ({x.shape[1]}, 1, {x.shape[3] // 2}), "
            f"not {tuple(cos.shape)} and {tuple(sin.shape)}"
        )
    return torch.ops.smol.rope(x, cos, sin, False)


def _token_stride(x: Tensor) -> int | None:
    """How far tokens are apart, where that is one number and each token's heads are dense."""
    _, s, h, d = x.shape
    dense = x.stride(3) == 1 and (h == 1 or x.stride(2) == d)
    one = x.shape[0] == 1 or x.stride(0) == s * x.stride(1)
    return x.stride(1) if dense and one else None


@torch.library.custom_op("smol::rope", mutates_args=())
def _rope(x: Tensor, cos: Tensor, sin: Tensor, backwards: bool) -> Tensor:
    if _token_stride(x) is None:
        x = x.contiguous()
    b, s, h, d = x.shape
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if y.numel():
        TURN.launch(
            lambda meta: (triton.cdiv(b * s * h, meta["ROWS"]),),
            x_ptr=x, cos_ptr=cos.contiguous(), sin_ptr=sin.contiguous(), y_ptr=y, rows=b * s * h,
            stride=_token_stride(x), positions=s, HEADS=h, HALF=d // 2,
            SIGN=-1 if backwards else 1, ACC=accumulator(x.dtype),
            BLOCK=triton.next_power_of_2(d // 2),
        )  # fmt: skip
    return y


@_rope.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor, backwards: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1], inputs[2])
    ctx.backwards = inputs[3]


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return torch.ops.smol.rope(grad, *ctx.saved_tensors, not ctx.backwards), None, None, None


torch.library.register_autograd("smol::rope", _differentiate, setup_context=_save)
