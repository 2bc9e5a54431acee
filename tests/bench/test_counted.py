"""A GPU's way through one update, on shapes alone: what it waits for, and how much it launches."""

from __future__ import annotations

import importlib

import pytest
import torch

from harness import presets
from harness.bench.counted import LaunchCount
from harness.config import replace
from harness.optim.build import build
from models.kernels import document_mask
from models.lm import LanguageModel
from models.presets import model

KINDS = ("dense", "moe-active", "moe-total", "moe-160m")
MUON = 400
PASSES = {
    "dense": (1_624, 2_397), "moe-active": (2_652, 3_480), "moe-total": (2_652, 3_480),
    "moe-160m": (944, 1_270),
}  # fmt: skip
"""Launches of an eager forward pass with the head's gradient, and of the backward pass behind it,
as they were counted; norms count as their parts on `meta`."""
ROOM = 1.1
"""How far above that they may be before somebody looks."""


def meta(kind: str) -> tuple[LanguageModel, object]:
    with torch.device("meta"):
        built = LanguageModel(model(kind, "full"), torch.bfloat16)
        config = replace(presets.run("full"), {"model": built.config}).optim
        return built, build(config.model_copy(update={"muon_ns_dtype": "bf16"}), built)


@pytest.mark.parametrize("kind", KINDS)
def test_a_micro_step_at_full_size_waits_for_nothing(kind):
    built, _ = meta(kind)
    tokens = torch.zeros(4, 2048, dtype=torch.int64, device="meta")
    with built.working_weights():
        with LaunchCount() as forward:
            sums = built.loss_sums(tokens, tokens)
            objective = sums.cross_entropy / 8192 + sums.routing / 4
        with LaunchCount() as backward:
            objective.backward()
    for counted, expected in zip((forward, backward), PASSES[kind], strict=True):
        assert not counted.waits
        assert 0.9 * expected < counted.launches < ROOM * expected, counted.operators.most_common(9)
    if kind != "dense":
        layers = built.config.layers
        assert forward.operators["grouped_gemm"] == 2 * layers
        assert backward.operators["grouped_gemm_backward"] == 2 * layers
    assert forward.operators["head_cross_entropy"] == 1


def test_a_mask_of_documents_waits_for_nothing():
    """It is made once a micro-step, on the card, of borders that the host does not know."""
    documents = torch.zeros(4, 2048, dtype=torch.int64, device="meta")
    with LaunchCount() as counted:
        document_mask.block_mask(documents)
    assert not counted.waits
    assert 0 < counted.launches <= 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_an_optimizer_at_full_size_is_few_launches(kind, monkeypatch):
    # Torch's fused step takes shapes alone too, but for its question.
    adam = importlib.import_module("torch.optim.adam")
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)
    built, optimizers = meta(kind)
    for parameter in built.parameters():
        parameter.grad = torch.empty_like(parameter)
    for name in ("muon", "adamw"):
        with LaunchCount() as counted:
            optimizers.parts[name].step()
        print(f"{kind}: {name} {counted.launches}")
        assert not counted.waits
        assert 0 < counted.launches <= MUON, counted.operators.most_common(12)


def test_a_wait_is_seen():
    with LaunchCount() as counted:
        torch.ones(3).sum().item()
        torch.ones(3).nonzero()
    assert set(counted.waits) == {"_local_scalar_dense", "nonzero"}
