"""An optimizer that gives another point than it takes gradients at is judged at that."""

from __future__ import annotations

import torch
from pytorch_optimizer import ScheduleFreeAdamW

from harness.optim.build import Optimizers


class Averaged(torch.optim.SGD):
    """Plain descent whose answer is the mean of all points."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.seen, self.away = [], False

    def step(self):
        super().step()
        self.seen.append(self.param_groups[0]["params"][0].detach().clone())

    def eval(self):
        self.away = True
        with torch.no_grad():
            self.param_groups[0]["params"][0].copy_(torch.stack(self.seen).mean(0))

    def train(self):
        self.away = False


def test_inside_stands_the_answer_and_outside_where_training_goes_on_to_the_last_bit():
    weights = torch.nn.Parameter(torch.tensor([0.1, 0.7]))
    own = Averaged([weights], lr=0.3)
    made = Optimizers({"own": own, "other": torch.optim.SGD([torch.zeros(1)], lr=1.0)})
    for _ in range(3):
        weights.grad = 2 * weights.detach()
        made.step()
    last = weights.detach().clone()
    with made.judged():
        assert own.away
        torch.testing.assert_close(weights.detach(), torch.stack(own.seen).mean(0))
    assert not own.away
    assert torch.equal(weights.detach(), last)


def test_schedule_free_is_judged_at_its_average():
    weights = torch.nn.Parameter(torch.ones(3))
    made = Optimizers({"own": ScheduleFreeAdamW([weights], lr=0.1)})
    for _ in range(5):
        weights.grad = weights.detach().clone()
        made.step()
    there = weights.detach().clone()
    with made.judged():
        assert (weights - there).abs().min() > 1e-3
    assert torch.equal(weights.detach(), there)
