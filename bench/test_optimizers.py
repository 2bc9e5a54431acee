"""One optimizer step over all of SmolLM2-135M: our Muon, torch's, and fused AdamW."""

from __future__ import annotations

from functools import partial

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.groups import Group, Size, Turn
from harness import presets
from harness.optim.build import build
from models.config import ModelConfig
from models.lm import LanguageModel
from models.presets import model

NAMES = {"torch-muon": "torch.optim.Muon", "muon": "ours, Muon", "adamw": "AdamW, fused"}
"""`optim.name` -> in the table. Either Muon has AdamW for embedding and norms."""


def groups(size: Size) -> list[Group]:
    chosen = [("dense", "smoke")] if size.tiny else [("dense", "full"), ("moe-160m", "full")]
    return [
        Group(
            f"optimizer step, {kind} {scale}",
            NAMES["torch-muon"],
            {shown: partial(Step, model(kind, scale), name, size) for name, shown in NAMES.items()},
            rounds=5,
            agree=0.5,
        )
        for kind, scale in chosen
    ]


class Step:
    """Every parameter has a gradient of noise, the same before each step."""

    def __init__(self, config: ModelConfig, name: str, size: Size) -> None:
        self.device = size.device
        built = LanguageModel(config, size.dtype)
        built.init_weights(0)
        built.to(size.device)
        generator = torch.Generator(size.device).manual_seed(0)
        for parameter in built.parameters():
            noise = torch.randn(parameter.shape, generator=generator, device=size.device)
            parameter.grad = 1e-3 * noise
        constants = presets.optim(muon_lr=0.02, adamw_lr=3e-4, weight_decay=0.1)
        # As a plan resolves it: in what the device multiplies.
        dtype = "bf16" if size.dtype == torch.bfloat16 else "fp32"
        chosen = {"name": name, "muon_ns_dtype": dtype}
        self.model, self.optimizers = built, build(constants.model_copy(update=chosen), built)

    def __call__(self) -> None:
        self.optimizers.step()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def says(self) -> float:
        """All take steps of about one size: none has lost its scale or a part of the weights."""
        return sum(
            float(parameter.detach().double().norm()) for parameter in self.model.parameters()
        )


def test_optimizer(turn: Turn, benchmark: BenchmarkFixture) -> None:
    turn.take(benchmark)
