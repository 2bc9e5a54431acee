import math

import pytest
import torch
import torch.nn.functional as F

from models.feed_forwards.experts import MixtureOfExperts
from models.ops import Ops
from tests.models.small import MOE, SILU_MOE, build, config, relative, tokens


def layer(base, **changes):
    torch.manual_seed(0)
    mixture = MixtureOfExperts(config(base, **changes), Ops()).double()
    for parameter in mixture.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return mixture


def naive(mixture, x):
    """One token at a time, one expert at a time."""
    rows = []
    for token in x.reshape(-1, x.shape[-1]):
        logits = mixture.router.weight @ token
        top, chosen = logits.topk(mixture.top_k)
        row = torch.zeros_like(token)
        for weight, e in zip(top.softmax(0), chosen.tolist(), strict=True):
            hidden = mixture.inner[e] @ token
            if mixture.gated:
                gate, up = hidden.chunk(2)
                hidden = F.silu(gate) * up
            else:
                hidden = F.silu(hidden)
            row = row + weight * (mixture.down[e] @ hidden)
        rows.append(row)
    return torch.stack(rows).view_as(x)


@pytest.mark.parametrize("base", [MOE, SILU_MOE], ids=["swiglu", "silu"])
@pytest.mark.parametrize("shape", [(2, 7), (1, 1), (3, 1)])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_equals_experts_applied_token_by_token(base, shape, top_k):
    mixture = layer(base, top_k=top_k)
    x = torch.randn(*shape, 40, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(*shape, 40, dtype=torch.float64)
    (y, routing), expected = mixture(x), naive(mixture, x)
    # fp64 throughout: only the order of sums differs.
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
    assert routing.load.sum() == shape[0] * shape[1] * top_k
    at = {"x": x, **dict(mixture.named_parameters())}
    ours = torch.autograd.grad(y, at.values(), upstream)
    theirs = torch.autograd.grad(expected, at.values(), upstream, materialize_grads=True)
    for name, a, b in zip(at, ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, msg=lambda m, name=name: name + m)


def test_an_even_router_has_balance_one_and_full_entropy():
    mixture = layer(MOE)
    torch.nn.init.zeros_(mixture.router.weight)
    _, routing = mixture(torch.randn(2, 5, 40, dtype=torch.float64))
    # Equal probabilities make the loss 1 whatever was chosen among the ties.
    torch.testing.assert_close(routing.balance, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(routing.z, torch.full((2,), math.log(3) ** 2, dtype=torch.float64))
    assert float(routing.entropy) == pytest.approx(10 * math.log(3))


def test_a_collapsed_router_has_the_largest_balance_loss():
    mixture = layer(MOE, top_k=1)
    torch.nn.init.zeros_(mixture.router.weight)
    mixture.router.weight.data[1, 0] = 1000.0
    x = torch.ones(1, 6, 40, dtype=torch.float64)
    _, routing = mixture(x)
    assert routing.balance.tolist() == pytest.approx([3.0])  # the number of experts
    assert routing.load.tolist() == [0, 6, 0]
    assert float(routing.entropy) == pytest.approx(0.0, abs=1e-9)


def test_routing_losses_are_per_sequence():
    mixture = layer(MOE)
    x = torch.randn(4, 6, 40, dtype=torch.float64)
    _, together = mixture(x)
    for row in range(4):
        _, alone = mixture(x[row : row + 1])
        torch.testing.assert_close(together.balance[row : row + 1], alone.balance)
        torch.testing.assert_close(together.z[row : row + 1], alone.z)


def test_the_router_is_computed_in_fp32_whatever_the_compute_dtype():
    network = build(MOE, torch.bfloat16)
    x = torch.randn(1, 5, 40, dtype=torch.bfloat16)
    _, routing = network.blocks[0].feed_forward(x)
    exact = (x.float() @ network.blocks[0].feed_forward.router.weight.T).logsumexp(-1)
    assert routing.z.dtype == torch.float32
    assert relative(routing.z, exact.square().mean(1)) < 1e-6  # bf16 would be off by 1e-3


def test_backward_twice_gives_the_same_bits():
    network = build(MOE)
    gradients = []
    for _ in range(2):
        network.zero_grad()
        network.loss_sums(tokens(4, 16), tokens(4, 16, seed=2)).cross_entropy.backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
