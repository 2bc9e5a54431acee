"""A GPU's way through one update, on shapes alone: what it waits for, and how much it launches."""

from __future__ import annotations

import pytest
import torch

from harness import presets
from harness.bench.counted import LaunchCount
from harness.config import replace
from harness.optim.build import build
from models.lm import LanguageModel
from models.presets import model

KINDS = ("dense", "moe-active", "moe-total", "moe-160m")
MUON = 400
MICRO_STEP = {"dense": 4_400, "moe-active": 6_700, "moe-total": 6_700, "moe-160m": 2_400}
"""Launches of an eager forward and backward pass, about a tenth above what was counted (4,032 for
the dense model; norms count as their parts on `meta`)."""


def meta(kind: str) -> tuple[LanguageModel, object]:
    with torch.device("meta"):
        built = LanguageModel(model(kind, "full"), torch.bfloat16)
        config = replace(presets.run("full"), {"model": built.config}).optim
        return built, build(config.model_copy(update={"muon_ns_dtype": "bf16"}), built)


@pytest.mark.parametrize("kind", KINDS)
def test_a_micro_step_at_full_size_waits_for_nothing(kind):
    built, _ = meta(kind)
    tokens = torch.zeros(4, 2048, dtype=torch.int64, device="meta")
    with LaunchCount() as counted, built.working_weights():
        sums = built.loss_sums(tokens, tokens)
        (sums.cross_entropy / 8192 + sums.routing / 4).backward()
    assert not counted.waits
    assert counted.launches <= MICRO_STEP[kind], counted.operators.most_common(12)
    if kind != "dense":
        assert counted.operators["grouped_gemm"]
        assert counted.operators["grouped_gemm_backward"]
    assert counted.operators["head_cross_entropy"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_muon_at_full_size_is_few_launches(kind):
    built, optimizers = meta(kind)
    for parameter in built.parameters():
        parameter.grad = torch.empty_like(parameter)
    muon = optimizers.parts["muon"]
    with LaunchCount() as counted:
        muon.step()
    assert not counted.waits
    assert counted.launches <= MUON, counted.operators.most_common(12)


def test_a_wait_is_seen():
    with LaunchCount() as counted:
        torch.ones(3).sum().item()
        torch.ones(3).nonzero()
    assert set(counted.waits) == {"_local_scalar_dense", "nonzero"}
