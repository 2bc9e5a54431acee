"""The ops of this folder by name: what each stands for, an example, and what it must move.

The one place to look for tests, error tables, builds ahead of time and benches; a new kernel is
one file and one entry here. May not launch anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models import ops, presets
from models.dtypes import reduction_dtype
from models.kernels import grouped_gemm, head_cross_entropy, rms_norm, rope, swiglu
from models.kernels.cross_entropy import IGNORED, LOGITS_BYTES
from models.layers import rotary_angles

DENSE = presets.model("dense", "full")
MOE = presets.model("moe-active", "full")
ROWS = 4 * 2048
"""Tokens of a micro-step: what predictions are made for."""


class Phase(NamedTuple):
    """Work that a device does in one go, in the longer of its memory's and its units' time."""

    bytes_moved: float
    """Every input read once and every output written once."""
    flops: float = 0.0
    """The FLOPs of matrix products; what else is computed hides behind memory."""


@dataclass(frozen=True)
class Cost:
    """One forward and backward pass, as the kernels do it and as eager torch does, op by op."""

    fused: tuple[Phase, ...]
    eager: tuple[Phase, ...]


@dataclass(frozen=True)
class Op:
    """An operation with a plain-torch twin and a Triton kernel, at SmolLM2-135M's shapes."""

    reference: Callable[..., Any]
    kernel: Callable[..., Any]
    example: Callable[[int, torch.dtype], tuple[Any, ...]]
    """(rows, dtype) -> arguments, random with a fixed seed, on the CPU."""
    differentiable: int
    """How many of the first arguments get a gradient."""
    cost: Callable[[int, int], Cost]
    """(rows, bytes an element) -> cost. A row is a token (a token's copy for grouped products)."""


def _normal(*shape: int, dtype: torch.dtype, seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale).to(dtype)


def _norm_weight(dtype: torch.dtype) -> Tensor:
    return 1.0 + _normal(DENSE.width, dtype=reduction_dtype(dtype), seed=9, scale=0.1)


def _rms_norm(rows: int, dtype: torch.dtype) -> tuple[Any, ...]:
    return _normal(rows, DENSE.width, dtype=dtype, seed=1), _norm_weight(dtype), DENSE.norm_eps


def _add_rms_norm(rows: int, dtype: torch.dtype) -> tuple[Any, ...]:
    x, residual = (_normal(rows, DENSE.width, dtype=dtype, seed=s) for s in (1, 2))
    return x, residual, _norm_weight(dtype), DENSE.norm_eps


def _swiglu(rows: int, dtype: torch.dtype) -> tuple[Any, ...]:
    return (_normal(rows, 2 * DENSE.ffn, dtype=dtype, seed=1, scale=2.0),)


def _rope(rows: int, dtype: torch.dtype) -> tuple[Any, ...]:
    # Query and key heads side by side, as a fused projection gives them.
    heads = DENSE.heads + DENSE.kv_heads
    x = _normal(1, rows, heads, DENSE.head_dim, dtype=dtype, seed=1)
    cpu = torch.device("cpu")
    return x, *rotary_angles(
        torch.arange(rows, device=cpu), DENSE.head_dim, DENSE.rope_theta, dtype
    )


def _head(rows: int, dtype: torch.dtype) -> tuple[Any, ...]:
    hidden = _normal(rows, DENSE.width, dtype=dtype, seed=1)
    # Masters that the compute dtype holds exactly: the cast is no error of the op's.
    weight = _normal(DENSE.vocab_size, DENSE.width, dtype=dtype, seed=2, scale=0.05)
    generator = torch.Generator().manual_seed(3)
    targets = torch.randint(0, DENSE.vocab_size, (rows,), generator=generator)
    targets[1::5] = IGNORED
    return hidden, weight.to(reduction_dtype(dtype)), targets


def _grouped_gemm(rows: int, dtype: torch.dtype) -> tuple[Any, ...]:
    x = _normal(rows, MOE.width, dtype=dtype, seed=1)
    weights = _normal(MOE.experts, MOE.ffn, MOE.width, dtype=dtype, seed=2, scale=0.05)
    # Uneven groups, the second and the last but one of them empty.
    shares = torch.tensor([3.0, 0.0, 1.0, 2.0, 1.0, 4.0, 0.0, 2.0])
    ends = (shares.cumsum(0) / shares.sum() * rows).round().to(torch.int32)
    return x, weights, ends


def _per_element(width: int, fused: int, eager: int, wide: int) -> Callable[[int, int], Cost]:
    """Elements in and out, a column: fused; eager's in the compute dtype; eager's in fp32."""

    def cost(rows: int, size: int) -> Cost:
        elements = rows * width
        return Cost(
            (Phase(elements * fused * size),), (Phase(elements * (eager * size + wide * 4)),)
        )

    return cost


def _head_cost(rows: int, size: int) -> Cost:
    v, w = DENSE.vocab_size, DENSE.width
    chunks = -(-rows // max(1, LOGITS_BYTES["cuda"] // (v * size)))
    # Three products: logits written, then read twice with the gradient in them; hidden states
    # three times in and their gradient out; the weight cast once from fp32, and a chunk reads it
    # twice, writes its product and adds that in fp32.
    weights = v * w * (4 + size + chunks * (4 * size + 8))
    products = Phase(3 * rows * v * size + 4 * rows * w * size + weights, 6.0 * rows * v * w)
    once = Phase(3 * rows * v * size + 4 * rows * w * size + v * w * (4 + 5 * size), products.flops)
    # The softmax here: read twice, written once. Torch's: cast (in, 4 out), log-softmax (4 in, 4
    # out), the loss's dense gradient (4 out), log-softmax backward (8 in, 4 out), cast (4 in, out).
    softmax, plain = 3 * size, 2 * size + 32
    return Cost(
        (products, Phase(float(rows * v * softmax))), (once, Phase(float(rows * v * plain)))
    )


def _grouped_cost(rows: int, size: int) -> Cost:
    # Each of y = x w, x' = y' w and w' = y' x moves all three; a loop over groups the same.
    x, y, w = rows * MOE.width, rows * MOE.ffn, MOE.experts * MOE.width * MOE.ffn
    phase = Phase(size * (x + y + w), 2.0 * rows * MOE.width * MOE.ffn)
    return Cost((phase,) * 3, (phase,) * 3)


OPS: dict[str, Op] = {
    # Forward x in, y out; backward y', x in, x' out. Eager forward: cast (1 in, fp32 out), norm
    # (fp32 in and out), cast; backward: cast, norm (fp32: two in, one out), cast.
    "rms_norm": Op(
        rms_norm.rms_norm_reference, rms_norm.rms_norm, _rms_norm, 2,
        _per_element(DENSE.width, 5, 4, 9),
    ),
    # Forward x, residual in, their sum and y out; backward y', sum', sum in, x' out. Eager: the
    # addition's three forward and three backward more than the norm's.
    "add_rms_norm": Op(
        rms_norm.add_rms_norm_reference, rms_norm.add_rms_norm, _add_rms_norm, 3,
        _per_element(DENSE.width, 8, 10, 9),
    ),
    # Forward gate, up in, y out; backward y', gate, up in, two out. Eager forward: silu 2,
    # product 3; backward: product 3 and 3, silu 3, the halves' gradients concatenated 2 and 2.
    "swiglu": Op(ops.swiglu, swiglu.swiglu, _swiglu, 1, _per_element(DENSE.ffn, 8, 18, 0)),
    # One in, one out, and back. Eager forward: four products of halves (2 in, fp32 2 out), two
    # sums (fp32 2 in, 1 out), concatenation (1 in, 1 out), cast; backward about the same.
    "rope": Op(
        ops.rotate, rope.rope, _rope, 1,
        _per_element((DENSE.heads + DENSE.kv_heads) * DENSE.head_dim, 4, 6, 16),
    ),
    "head_cross_entropy": Op(
        head_cross_entropy.head_cross_entropy_sum_reference,
        head_cross_entropy.head_cross_entropy_sum, _head, 2, _head_cost,
    ),
    "grouped_gemm": Op(
        grouped_gemm.grouped_gemm_reference, grouped_gemm.grouped_gemm, _grouped_gemm, 2,
        _grouped_cost,
    ),
}  # fmt: skip


def rows_of(name: str) -> int:
    """Rows of an op in one micro-step: the copies of tokens for grouped products."""
    return ROWS * MOE.top_k if name == "grouped_gemm" else ROWS
