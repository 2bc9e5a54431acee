"""Output head and cross-entropy, forward and backward: ours, torch's fused one, and two steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture

from bench.groups import Group, Size, Turn
from bench.memory import extra_bytes
from models.kernels.cross_entropy import IGNORED, linear_cross_entropy_sum
from models.presets import model

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def groups(size: Size) -> list[Group]:
    dense = model("dense", "smoke" if size.tiny else "full")
    rows = size.of(cpu=2048, cuda=8192, tiny=64)
    name = f"head + cross-entropy, {rows} x {dense.width} x {dense.vocab_size}"
    losses: dict[str, Loss] = {
        "unfused": unfused,
        "F.linear_cross_entropy": torch_fused,
        "ours": linear_cross_entropy_sum,
    }
    if size.device == "cuda":
        losses |= on_a_gpu()
    build = partial(Head, rows=rows, width=dense.width, vocab=dense.vocab_size, size=size)
    contestants = {name: partial(build, loss) for name, loss in losses.items()}
    return [Group(name, "unfused", contestants, rounds=5)]


class Head:
    """One forward and backward pass of a micro-step's head."""

    def __init__(self, loss: Loss, rows: int, width: int, vocab: int, size: Size) -> None:
        generator = torch.Generator().manual_seed(0)
        self.loss, self.device = loss, size.device
        self.hidden = torch.randn(rows, width, generator=generator).to(size.device, size.dtype)
        weight = 0.05 * torch.randn(vocab, width, generator=generator)
        self.weight = weight.to(size.device).requires_grad_()
        targets = torch.randint(0, vocab, (rows,), generator=generator)
        targets[::7] = IGNORED
        self.targets = targets.to(size.device)
        self.hidden.requires_grad_()
        self.bytes = extra_bytes(self, size.device)

    def __call__(self) -> None:
        self.hidden.grad = self.weight.grad = None
        self.loss(self.hidden, self.weight, self.targets).backward()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def says(self) -> float:
        loss = self.loss(self.hidden, self.weight, self.targets)
        assert self.hidden.grad is not None
        assert self.weight.grad is not None
        gradients = self.hidden.grad.double().norm() * self.weight.grad.double().norm()
        return float(loss.detach() * gradients)

    def extra(self) -> dict[str, Any]:
        return {"peak_bytes": self.bytes}


def unfused(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = F.linear(hidden, weight.to(hidden.dtype))
    return F.cross_entropy(logits.float(), targets, reduction="sum", ignore_index=IGNORED)


def torch_fused(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.linear_cross_entropy(
        hidden, weight.to(hidden.dtype), targets, reduction="sum", ignore_index=IGNORED
    )


def on_a_gpu() -> dict[str, Loss]:
    """Our kernel, and Liger's where it is installed."""
    from models.kernels.head_cross_entropy import head_cross_entropy_sum

    found: dict[str, Loss] = {"triton": head_cross_entropy_sum}
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
    except ModuleNotFoundError:
        return found
    liger = LigerFusedLinearCrossEntropyLoss(ignore_index=IGNORED, reduction="sum")
    found["liger"] = lambda hidden, weight, targets: liger(weight.to(hidden.dtype), hidden, targets)
    return found


def test_head(turn: Turn, benchmark: BenchmarkFixture) -> None:
    turn.take(benchmark)
