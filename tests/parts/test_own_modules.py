"""Modules that are not ours inside the model: dtypes, gradients, roles, compilation, attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models import own
from models.lm import LanguageModel, count_parameters
from tests.models import small

RELU2 = """\
import torch

class ReLU2(torch.nn.Module):
    def __init__(self, config, multiple=2):
        super().__init__()
        self.norm = torch.nn.LayerNorm(config.width)
        self.up = torch.nn.Linear(config.width, multiple * config.width)
        self.down = torch.nn.Linear(multiple * config.width, config.width)

    def forward(self, x):
        return self.down(self.up(self.norm(x)).relu().square())
"""
AVERAGE = """\
import torch
from models.layers import Linear

class Average(torch.nn.Module):
    "The mean of what came before."

    def __init__(self, config, ops):
        super().__init__()
        self.ops, self.values = ops, Linear(config.width, config.width)

    def forward(self, x, rotary):
        count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return self.values(x).cumsum(1) / count[:, None]

    def roles(self):
        return {}
"""
TOKENS = torch.randint(0, 97, (2, 12), generator=torch.Generator().manual_seed(1))


def built(dtype: torch.dtype = torch.bfloat16, **parts: Any) -> LanguageModel:
    changed = {kind: {"name": "mine.py", "code": code} for kind, code in parts.items()}
    torch.manual_seed(0)  # what a part draws itself, such as a bias
    model = LanguageModel(small.config(small.DENSE, **changed), dtype)
    model.init_weights(0)
    return model


def gradients(model: LanguageModel) -> dict[str, torch.Tensor]:
    model.zero_grad()
    with model.working_weights():
        model.loss_sums(TOKENS, TOKENS).cross_entropy.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_plain_torch_layers_compute_in_bf16_over_fp32_masters():
    coarse, exact = built(feed_forward=RELU2), built(torch.float32, feed_forward=RELU2)
    with torch.no_grad():
        hidden, _ = coarse.hidden(TOKENS)
    assert hidden.dtype == torch.bfloat16
    ours, theirs = gradients(coarse), gradients(exact)
    assert ours.keys() == dict(exact.named_parameters()).keys()
    for name, gradient in ours.items():
        assert gradient.dtype == torch.float32
        assert torch.linalg.norm(gradient - theirs[name]) < 0.05 * torch.linalg.norm(theirs[name])


def test_matrices_are_drawn_by_the_models_rule_and_the_rest_stays_as_built():
    model = built(feed_forward=RELU2)
    part = "blocks.0.feed_forward.part"
    values = dict(model.named_parameters())
    assert values[f"{part}.up.weight"].std().item() == pytest.approx(model.config.init_std, rel=0.1)
    assert values[f"{part}.norm.weight"].eq(1).all()
    assert values[f"{part}.norm.bias"].eq(0).all()
    roles = model.roles()
    assert (roles[f"{part}.up.weight"].kind, roles[f"{part}.up.bias"].kind) == ("matrix", "norm")
    width = model.config.width
    inside = 2 * 2 * width * width + 3 * width + 2 * width
    ff = count_parameters(model.blocks[0].get_submodule("feed_forward"))
    assert ff == (inside, inside)


def test_an_attention_asks_for_what_it_needs_and_is_refused_what_it_ignores():
    model = built(torch.float32, attention=AVERAGE, feed_forward=RELU2)
    assert gradients(model).keys() == dict(model.named_parameters()).keys()
    with pytest.raises(ValueError, match=r"Average\.forward takes no `borders`"):
        model.loss_sums(TOKENS, TOKENS, torch.zeros_like(TOKENS))


def test_it_compiles_as_ours_do():
    model = built(torch.float32, feed_forward=RELU2)
    expected = gradients(model)
    torch._dynamo.reset()
    for block in model.blocks:
        block.compile(backend="aot_eager", fullgraph=True)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5)


def test_an_error_in_training_names_the_line():
    model = built(torch.float32, feed_forward=RELU2.replace("self.up(self.norm(x))", "(x @ x)"))
    with pytest.raises(RuntimeError) as caught:
        gradients(model)
    assert str(own.where(caught.value)).startswith("mine.py:11: RuntimeError: ")
