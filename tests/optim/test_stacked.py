"""Muon's way on a GPU, on the CPU: the same step as matrix by matrix."""

from __future__ import annotations

import pytest
import torch

from harness import presets
from harness.config import replace
from harness.optim import newton_schulz, stacked
from harness.optim.build import build
from models.lm import LanguageModel
from models.presets import model


def weights(kind: str, monkeypatch, *, stack: bool, nesterov: bool = True) -> list[torch.Tensor]:
    monkeypatch.setattr(stacked, "GPU", ("cpu",) if stack else ("cuda",))
    monkeypatch.setattr(stacked, "MOST_VALUES", 20_000)  # several batches of a shape
    built = LanguageModel(
        model(kind, "smoke").model_copy(update={"layers": 2, "vocab_size": 64}), torch.float64
    ).double()
    built.init_weights(0)
    changes = {"optim.muon_ns_dtype": "fp64", "optim.muon_nesterov": nesterov}
    muon = build(replace(presets.run("smoke"), changes).optim, built).parts["muon"]
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        for parameter in built.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        next(p for p in built.parameters() if p.ndim > 1).grad = None
        muon.step()
    return [parameter.detach() for parameter in built.parameters()]


@pytest.mark.parametrize("kind", ["dense", "moe-active"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_stacked_by_shape_it_takes_the_same_step(kind, nesterov, monkeypatch):
    one = weights(kind, monkeypatch, stack=False, nesterov=nesterov)
    other = weights(kind, monkeypatch, stack=True, nesterov=nesterov)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("most", "compiled"), [(0, False), (100, True)])
def test_more_shapes_than_torch_compiles_are_taken_uncompiled(most, compiled, monkeypatch):
    seen = set()

    def orthogonal(kind):
        seen.add(kind)
        return newton_schulz.orthogonalise

    monkeypatch.setattr(stacked, "MOST_COMPILED", most)
    monkeypatch.setattr(stacked, "_orthogonal", orthogonal)
    weights("dense", monkeypatch, stack=True)
    assert seen == {"cpu" if compiled else ""}


def test_its_arithmetic_is_one_graph():
    torch._dynamo.reset()
    settings = presets.run("smoke").optim
    arguments = dict(
        iterations=settings.muon_ns_iterations, coefficients=settings.muon_ns_coefficients,
        eps=settings.muon_ns_eps, dtype=torch.float32,
    )  # fmt: skip
    function = torch.compile(
        newton_schulz.orthogonalise, backend="aot_eager", dynamic=False, fullgraph=True
    )
    for shape in ((3, 64, 32), (2, 16, 48)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        plain = newton_schulz.orthogonalise(x, **arguments)
        torch.testing.assert_close(function(x, **arguments), plain, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
