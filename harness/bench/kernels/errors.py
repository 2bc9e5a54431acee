"""How far kernels are from fp64, beside how far torch's own ops are, in Triton's interpreter.

`python -m harness.bench.kernels.errors` prints the table as JSON; it must be started with
TRITON_INTERPRET=1. The interpreter shows arithmetic, not races nor a GPU's instructions.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from harness.bench.kernels.interpreter import rounding_casts
from models.kernels.registry import OPS

ROWS = {"head_cross_entropy": 7, "grouped_gemm": 97}
"""Odd, and few: a program costs about a millisecond here. Other ops get DEFAULT_ROWS."""
DEFAULT_ROWS = 37

TOLERATED = 2.0
"""How many times torch's own error a kernel may have."""


@dataclass(frozen=True)
class Error:
    """The error of one output or gradient: the norm of its difference from fp64, relative to
    fp64's."""

    quantity: str
    kernel: float
    torch: float

    @property
    def acceptable(self) -> bool:
        """Whether it is at most TOLERATED times torch's own; exactly right where torch is."""
        return self.kernel <= TOLERATED * self.torch


def compare(
    kernel: Callable[..., Any],
    reference: Callable[..., Any],
    arguments: tuple[Any, ...],
    differentiable: int,
) -> list[Error]:
    """Outputs and gradients of `kernel` and of `reference` in the arguments' dtype, against
    `reference` in fp64 on the same numbers. The upstream gradient is random, and never 1."""
    return Truth(reference, arguments, differentiable).errors(kernel)


class Truth:
    """What `compare` holds kernels against, computed once for many of them."""

    def __init__(
        self, reference: Callable[..., Any], arguments: tuple[Any, ...], differentiable: int
    ) -> None:
        self._arguments, self._differentiable = arguments, differentiable
        self._dtype = arguments[0].dtype
        wide = tuple(
            a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments
        )
        self._names, self._truth = _run(reference, wide, differentiable, self._dtype)
        _, theirs = _run(reference, arguments, differentiable, self._dtype)
        self._theirs = [_distance(a, t) for a, t in zip(theirs, self._truth, strict=True)]

    def errors(self, kernel: Callable[..., Any]) -> list[Error]:
        """Of each output and gradient."""
        _, ours = _run(kernel, self._arguments, self._differentiable, self._dtype)
        return [
            Error(name, _distance(a, t), other)
            for name, a, t, other in zip(self._names, ours, self._truth, self._theirs, strict=True)
        ]


def _run(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    differentiable: int,
    dtype: torch.dtype,
) -> tuple[list[str], list[Tensor]]:
    """(names, outputs and gradients), the upstream gradient exact in `dtype` whatever the run's."""
    leaves = [a.detach().clone().requires_grad_() for a in arguments[:differentiable]]
    out = function(*leaves, *arguments[differentiable:])
    outputs = out if isinstance(out, tuple) else (out,)
    generator = torch.Generator().manual_seed(0)
    upstream = [
        (0.37 * torch.randn(t.shape, generator=generator, dtype=torch.float64)).to(dtype).to(t)
        for t in outputs
    ]
    gradients = torch.autograd.grad(outputs, leaves, upstream)
    parameters = list(inspect.signature(function).parameters)
    names = [f"output {i}" for i in range(len(outputs))] if len(outputs) > 1 else ["output"]
    return (
        [*names, *(f"gradient of {p}" for p in parameters[:differentiable])],
        [t.detach() for t in (*outputs, *gradients)],
    )


def _distance(value: Tensor, truth: Tensor) -> float:
    norm = truth.double().norm()
    difference = (value.double() - truth.double()).norm()
    return float(difference / norm) if norm else float(difference)


def table(ops: list[str]) -> list[dict[str, Any]]:
    """A row for each op, dtype and quantity."""
    rows = []
    with rounding_casts():
        for op in ops:
            entry, count = OPS[op], ROWS.get(op, DEFAULT_ROWS)
            for dtype in (torch.float32, torch.bfloat16):
                arguments = entry.example(count, dtype)
                name = {"op": op, "dtype": str(dtype).removeprefix("torch."), "rows": count}
                rows += [
                    name | asdict(error) | {"acceptable": error.acceptable}
                    for error in compare(
                        entry.kernel, entry.reference, arguments, entry.differentiable
                    )
                ]
    return rows


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    print(json.dumps(table(sys.argv[1:] or list(OPS))))
