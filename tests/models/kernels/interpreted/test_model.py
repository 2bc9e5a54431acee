"""A tiny model with all kernels on against the plain one: it trains alike, and compiles whole."""

import pytest
import torch

from models.kernels.head_cross_entropy import head_cross_entropy_sum
from models.kernels.launching import TritonKernel
from models.kernels.names import KERNELS
from models.kernels.registry import OPS
from models.layers import rotary_angles
from tests.models import small

SIZES = {"width": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn": 88, "init_std": 0.1}
EVERYWHERE = {"rms_norm_forward", "rms_norm_backward", "rope_turn", "softmax_gradient"}
SWIGLU = {"swiglu_forward", "swiglu_backward"}
GROUPED = {"grouped_product", "grouped_weight_gradient"}


@pytest.fixture
def launched(monkeypatch):
    """Fills with the names of the kernels that are launched."""
    names: set[str] = set()
    launch = TritonKernel.launch

    def noted(self, grid, **arguments):
        names.add(self.name)
        launch(self, grid, **arguments)

    monkeypatch.setattr(TritonKernel, "launch", noted)
    return names


def losses(base, kernels, documents=None):
    """Of 20 updates with AdamW on the same few tokens, fp32."""
    model = small.build(base, torch.float32, kernels=kernels, **SIZES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    found = []
    for update in range(20):
        tokens = small.tokens(2, 9, seed=update % 4)
        targets = tokens[:, 1:].clone()
        targets[0, :3] = -100
        sums = model.loss_sums(tokens[:, :-1], targets, documents)
        loss = sums.cross_entropy / sums.targets
        optimizer.zero_grad()
        (loss + sums.routing / 2).backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found


DOCUMENTS = torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2], [3, 4, 4, 4, 4, 4, 4, 4]])


@pytest.mark.parametrize("documents", [None, DOCUMENTS], ids=["whole", "documents"])
@pytest.mark.parametrize("base", [small.DENSE, small.MOE], ids=["dense", "moe"])
def test_twenty_updates_with_all_kernels_on_have_the_plain_losses(launched, base, documents):
    plain = losses(base, (), documents)
    assert not launched
    ours = losses(base, KERNELS, documents)
    assert launched == EVERYWHERE | SWIGLU | (GROUPED if base is small.MOE else set())
    assert plain[-1] < plain[0] - 0.5  # it did learn, so that weights and moments moved
    # 20 updates amplify roundings of fp32 (6e-8) by some hundreds: far below a wrong gradient.
    assert ours == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("base", [small.DENSE, small.MOE], ids=["dense", "moe"])
def test_a_block_with_the_operators_compiles_whole(launched, base):
    model = small.build(base, torch.float32, kernels=KERNELS, **SIZES)
    layer = model.blocks[0]
    rotary = rotary_angles(torch.arange(7), 16, 10_000.0, torch.float32)
    x = torch.randn(1, 7, 64, requires_grad=True)
    weights = [x, *layer.parameters()]

    def gradients(function):
        return torch.autograd.grad(function(x, rotary)[0].square().sum(), weights)

    expected = gradients(layer)
    launched.clear()
    # A graph break is an error with fullgraph; aot_eager traces the backward pass too.
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for a, b in zip(gradients(compiled), expected, strict=True):
        # The same operators on the same numbers; torch may order its own sums otherwise.
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert launched >= SWIGLU | {"rms_norm_backward", "rope_turn"}


def test_the_head_compiles_whole():
    hidden, weight = torch.randn(5, 16, requires_grad=True), torch.randn(97, 16, requires_grad=True)
    targets = torch.tensor([0, 96, -100, 4, 5])
    eager = torch.autograd.grad(
        head_cross_entropy_sum(hidden, weight, targets) * 0.5, (hidden, weight)
    )
    compiled = torch.compile(head_cross_entropy_sum, fullgraph=True, backend="aot_eager")
    whole = torch.autograd.grad(compiled(hidden, weight, targets) * 0.5, (hidden, weight))
    for a, b in zip(whole, eager, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", OPS)
def test_the_operators_are_well_declared(name, monkeypatch):
    # Schema, fake implementation and autograd registration against what the operator does.
    ops = {
        "rms_norm": lambda: (torch.randn(3, 5, requires_grad=True), torch.randn(5), 1e-5),
        "add_rms_norm": lambda: (
            torch.randn(3, 5, requires_grad=True), torch.randn(3, 5), torch.randn(5), 1e-5
        ),
        "swiglu": lambda: (torch.randn(3, 6, requires_grad=True),),
        "rope": lambda: (
            torch.randn(1, 3, 2, 4, requires_grad=True), torch.randn(3, 1, 2),
            torch.randn(3, 1, 2), False,
        ),
        "head_cross_entropy": lambda: (
            torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True),
            torch.tensor([0, -100, 4]),
        ),
        "grouped_gemm": lambda: (
            torch.randn(3, 4, requires_grad=True), torch.randn(3, 2, 4, requires_grad=True),
            torch.tensor([1, 1, 3], dtype=torch.int32),
        ),
    }  # fmt: skip
    torch.library.opcheck(getattr(torch.ops.smol, name), ops[name]())
