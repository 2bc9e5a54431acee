"""Each kernel's op, forward and backward: plain torch, the same compiled, on a GPU the Triton
kernel and Liger's. On a CPU, where no kernel runs, the plain twin eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.groups import Group, Size, Turn

pytest.importorskip("triton", reason="without Triton there are no kernels to have twins")

from models.kernels.registry import OPS, Op, rows_of

CPU_ROWS = 2048
HEAD_CPU_ROWS = 512
"""All logits at once, and their gradients: 49,152 columns in fp32."""


def groups(size: Size) -> list[Group]:
    return [_group(name, op, size) for name, op in OPS.items()]


def _group(name: str, op: Op, size: Size) -> Group:
    on_cpu = HEAD_CPU_ROWS if name == "head_cross_entropy" else CPU_ROWS
    rows = size.of(cpu=on_cpu, cuda=rows_of(name), tiny=16)
    functions: dict[str, Callable[..., Any]] = {"eager": op.reference}
    if not size.quick:
        # The grouped product of the plain twin loops over groups whose sizes are data.
        functions["compiled"] = torch.compile(op.reference, dynamic=False)
    if size.device == "cuda":
        functions |= {"triton": op.kernel} | liger(name, op)
    contestants = {n: partial(ForwardBackward, f, op, rows, size) for n, f in functions.items()}
    return Group(f"{name}, {rows} rows, bf16, forward and backward", "eager", contestants)


class ForwardBackward:
    """One call and its gradients, the upstream gradient given."""

    def __init__(self, function: Callable[..., Any], op: Op, rows: int, size: Size) -> None:
        self.function, self.device = function, size.device
        arguments = [
            a.to(size.device) if isinstance(a, torch.Tensor) else a
            for a in op.example(rows, size.dtype)
        ]
        self.leaves = [a.requires_grad_() for a in arguments[: op.differentiable]]
        self.arguments = [*self.leaves, *arguments[op.differentiable :]]
        self.upstream = [torch.full_like(out, 0.37) for out in self._outputs()]
        self.gradients: tuple[torch.Tensor, ...] = ()

    def _outputs(self) -> tuple[torch.Tensor, ...]:
        out = self.function(*self.arguments)
        return out if isinstance(out, tuple) else (out,)

    def __call__(self) -> None:
        self.gradients = torch.autograd.grad(self._outputs(), self.leaves, self.upstream)
        if self.device == "cuda":
            torch.cuda.synchronize()

    def says(self) -> float:
        return sum(float(gradient.double().norm()) for gradient in self.gradients)


def liger(name: str, op: Op) -> dict[str, Callable[..., Any]]:
    """Liger's counterpart, where it has one and is installed."""
    try:
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction
        from liger_kernel.ops.swiglu import LigerSiLUMulFunction
    except ModuleNotFoundError:
        return {}
    known: dict[str, Callable[..., Any]] = {
        "rms_norm": lambda x, weight, eps: LigerRMSNormFunction.apply(x, weight, eps),
        # It takes two tensors: of a fused projection it first copies both halves.
        "swiglu": lambda gate_up: LigerSiLUMulFunction.apply(*gate_up.chunk(2, dim=-1)),
    }
    return {"liger": known[name]} if name in known else {}


def test_kernel(turn: Turn, benchmark: BenchmarkFixture) -> None:
    turn.take(benchmark)
