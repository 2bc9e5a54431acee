"""A schedule and a loss term of one's own: what they compute, and what is said of mistakes."""

from __future__ import annotations

import pytest
import torch

from harness import presets
from harness.config import identity, replace
from harness.optim.schedule import factor
from harness.parts import loss_term
from harness.train.update import accumulate
from models.config import Part
from models.own import Fault
from tests.parts.test_mistakes import ask
from tests.train.test_update import batch, tiny

BASE = presets.run("smoke")
ROOT = """\
def root(progress, power=0.5):
    return 1 - progress**power
"""
Z = """\
class ZLoss:
    def __init__(self, weight=0.01):
        self.weight = weight

    def __call__(self, logits, targets):
        return self.weight * logits.logsumexp(-1).square().sum()
"""


def test_a_shape_takes_the_place_of_the_fall_and_of_nothing_else():
    name = {"schedule.shape": "mine.py:root", "schedule.shape.code": ROOT}
    ours = BASE.schedule
    mine = replace(BASE, {**name, "schedule.shape.settings.power": 2.0}).schedule
    for update in range(40):
        expected = factor(ours, update, 20, 40)
        if update >= 20:
            expected = 1 - ((update - 20) / 20) ** 2
        assert factor(mine, update, 20, 40) == pytest.approx(expected)
    assert factor(mine, 39, None, 40) == 1.0  # a stem


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_a_loss_term_has_the_gradient_of_the_whole_update_and_the_loss_is_without_it(micro_batch):
    data, model = batch(), tiny("dense", torch.float64)
    plain, _ = accumulate(model, data, 8, torch.device("cpu"))
    before = [p.grad.clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    model.loss_term = loss_term.term(Part(name="mine.py", code=Z, settings={"weight": 0.5}))
    loss, _ = accumulate(model, data, micro_batch, torch.device("cpu"))
    assert loss == pytest.approx(float(plain))
    tokens, targets = torch.from_numpy(data.tokens), torch.from_numpy(data.targets)
    logits = model(tokens)[targets >= 0]
    term = 0.5 * torch.logsumexp(logits, -1).square().mean()
    expected = torch.autograd.grad(term, list(model.parameters()))
    for p, old, extra in zip(model.parameters(), before, expected, strict=True):
        torch.testing.assert_close(p.grad, old + extra, rtol=1e-6, atol=1e-9)


def test_both_are_tried_their_defaults_said_and_old_keys_stay():
    found = ask("schedule.shape", "mine.py:root", ROOT)
    assert found["changes"] == {"schedule.shape.settings": {"power": 0.5}}
    assert ask("train.loss", "mine.py", Z)["changes"] == {"train.loss.settings": {"weight": 0.01}}
    assert not any("shape" in path or "train.loss" in path for path in identity(BASE))
    assert "schedule.shape.code" in identity(replace(BASE, {"schedule.shape.code": ROOT}))


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("schedule.shape", "def f(p):\n    return None\n", "mine.py:1: gives None at progress 0"),
        ("schedule.shape", "def f(p):\n    return -p\n", "mine.py:1: gives -0.01 at progress 0.01"),
        ("schedule.shape", "def f(p):\n    return 1 / p\n", "mine.py:2: ZeroDivisionError"),
        ("train.loss", "def f(x, y):\n    return x\n", "not a scalar sum over targets"),
        ("train.loss", "def f(x, y):\n    return x.detach().sum()\n", "1: its value has no"),
        ("train.loss", "def f(x, y):\n    return (x - x).sum().log()\n", "mine.py:2: Floating"),
        ("train.loss", "def f(x, y):\n    return x @ y\n", "mine.py:2: RuntimeError"),
        ("train.loss", "def f(x, y):\n    return x.mul_(2).sum()\n", "1: it changes its logits"),
        ("train.loss", "def f(x, y):\n    y.zero_()\n    return x.sum()\n", "1: .* targets in pl"),
        (
            "schedule.shape",
            "def f():\n    return 1\n",
            "1: is called with the progress and takes no",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(kind, code, said):
    with pytest.raises(Fault, match=said):
        ask(kind, "mine.py:f", code)
