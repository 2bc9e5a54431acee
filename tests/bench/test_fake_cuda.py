"""SmolLM2-135M and its mixtures at full size on fake CUDA tensors: run by `nox -s fakegpu`, with
PyPI's CUDA build of torch. Devices, dtypes and operators are a GPU's; nothing is computed."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from harness import presets
from harness.bench.counted import LaunchCount
from harness.optim.build import build
from models.lm import LanguageModel
from models.presets import model
from tests.bench.test_counted import KINDS, MUON

pytestmark = pytest.mark.fakegpu
FORWARD = {"dense": 1_500, "moe-active": 2_600, "moe-total": 2_600, "moe-160m": 900}
"""Launches of an eager forward pass with the head's gradient, at most."""


def test_this_is_a_cuda_build():
    assert torch.version.cuda is not None, "nox -s fakegpu installs one"


@pytest.fixture
def fake():
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_forward_loss_and_optimizers_at_full_size(kind, fake):
    with torch.device("cuda"):
        built = LanguageModel(model(kind, "full"), torch.bfloat16)
    optimizers = build(
        presets.run("full").optim.model_copy(update={"muon_ns_dtype": "bf16"}), built
    )
    tokens = torch.zeros(4, 2048, dtype=torch.int64, device="cuda")
    # Backward passes are counted on `meta` (`test_counted.py`): for fake tensors on `cuda` torch's
    # engine asks a driver.
    with LaunchCount() as forward, built.working_weights():
        sums = built.loss_sums(tokens, tokens)
    assert sums.cross_entropy.device.type == "cuda"
    assert not forward.waits
    for parameter in built.parameters():
        parameter.grad = torch.empty_like(parameter)
    with LaunchCount() as muon:
        optimizers.parts["muon"].step()
    with LaunchCount() as adamw:
        optimizers.parts["adamw"].step()
    print(f"{kind}: forward {forward.launches}, muon {muon.launches}, adamw {adamw.launches}")
    assert not muon.waits
    assert not adamw.waits
    assert muon.launches <= MUON
    assert adamw.launches <= MUON
    assert forward.launches <= FORWARD[kind], forward.operators.most_common(12)
    with torch.no_grad(), LaunchCount() as scored:
        built.token_losses(tokens, tokens)
    assert scored.operators["head_cross_entropy_rows"] == 1  # no gradient is computed
    assert not scored.waits


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_trace_without_a_break(kind, fake):
    import torch._dynamo

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch.device("cuda"):
        built = LanguageModel(model(kind, "full"), torch.bfloat16)
    for block in built.blocks:
        block.compile(backend="eager", dynamic=False, fullgraph=True)
    tokens = torch.zeros(4, 2048, dtype=torch.int64, device="cuda")
    with built.working_weights():
        built.loss_sums(tokens, tokens)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
