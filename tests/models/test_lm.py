import math

import pytest
import torch

from models.config import active_parameters, expected_initial_loss, total_parameters
from models.lm import LanguageModel, count_parameters
from models.presets import KINDS, SCALES, model
from tests.models.small import DENSE, MOE, SILU_MOE, build, relative, tokens

BASES = {"dense": DENSE, "moe": MOE, "silu-moe": SILU_MOE}


def update_gradients(network, inputs, targets, micro_batch):
    """The gradients of one update, cut into micro-batches as the trainer does."""
    network.zero_grad()
    scored, sequences = (targets != -100).sum(), inputs.shape[0]
    for x, y in zip(inputs.split(micro_batch), targets.split(micro_batch), strict=True):
        sums = network.loss_sums(x, y)
        (sums.cross_entropy / scored + sums.routing / sequences).backward()
    return {name: p.grad.clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
# fp64: 1e-10 and fp32: 1e-5 are the project's contract; measured 1e-15 and 1e-6.
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_eight_by_one_and_one_by_eight_give_equal_gradients(base, dtype, bound):
    network = build(base, dtype)
    inputs, targets = tokens(8, 12), tokens(8, 12, seed=2)
    for row in range(8):
        targets[row, : row + 1] = -100  # each micro-batch scores another number of targets
    targets[3] = -100  # and one none at all
    whole = update_gradients(network, inputs, targets, micro_batch=8)
    parts = update_gradients(network, inputs, targets, micro_batch=1)
    for name, gradient in whole.items():
        assert gradient.norm() > 0, name
        assert relative(parts[name], gradient) < bound, name


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_a_later_token_never_changes_an_earlier_logit(base):
    network = build(base, torch.float64).eval()
    inputs = tokens(2, 10)
    changed = inputs.clone()
    changed[:, 6] = (changed[:, 6] + 1) % DENSE["vocab_size"]
    with torch.no_grad():
        before, after = network(inputs), network(changed)
    # Not bit for bit: other rows fall to other experts, and products are blocked otherwise.
    torch.testing.assert_close(before[:, :6], after[:, :6], rtol=1e-12, atol=1e-12)
    assert (before[:, 6:] - after[:, 6:]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_losses_agree_with_the_logits(base):
    network = build(base, torch.float64)
    inputs, targets = tokens(3, 7), tokens(3, 7, seed=2)
    targets[1, 2:] = -100
    expected = torch.nn.functional.cross_entropy(
        network(inputs).flatten(0, 1), targets.flatten(), reduction="none", ignore_index=-100
    ).view(3, 7)
    torch.testing.assert_close(network.token_losses(inputs, targets), expected.detach())
    sums = network.loss_sums(inputs, targets)
    torch.testing.assert_close(sums.cross_entropy, expected.sum())
    assert sums.targets == 16


def test_routing_sums_weigh_balance_and_z_over_layers_and_sequences():
    network = build(MOE, torch.float64)
    inputs = tokens(3, 7)
    seen = []
    for block in network.blocks:
        block.feed_forward.register_forward_hook(lambda _m, _i, out: seen.append(out[1]))
    sums = network.loss_sums(inputs, inputs)
    assert len(seen) == 2
    expected = sum(0.5 * r.balance.sum() + 0.1 * r.z.sum() for r in seen)
    torch.testing.assert_close(sums.routing, expected)
    assert torch.equal(sums.load, torch.stack([r.load for r in seen]))
    assert sums.load.sum(1).tolist() == [3 * 7 * 2] * 2
    assert torch.equal(sums.router_entropy, torch.stack([r.entropy for r in seen]))
    assert not sums.router_entropy.requires_grad
    dense = build(DENSE).loss_sums(inputs, inputs)
    assert (float(dense.routing), dense.load, dense.router_entropy) == (0.0, None, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", SCALES)
def test_parameters_of_the_built_model_equal_the_formula(kind, scale):
    config = model(kind, scale)
    with torch.device("meta"):
        built = count_parameters(LanguageModel(config))
    assert built == (total_parameters(config), active_parameters(config))


def test_published_parameter_counts():
    assert total_parameters(model("dense", "full")) == 134_515_008
    assert total_parameters(model("moe-160m", "full")) == 167_814_656
    assert active_parameters(model("moe-160m", "full")) == 67_151_360


@pytest.mark.parametrize("base", [DENSE | {"tied": False}, SILU_MOE], ids=["untied", "silu-moe"])
def test_every_parameter_has_a_role_whose_slices_are_its_rows(base):
    network = build(base)
    roles = network.roles()
    assert set(roles) == set(dict(network.named_parameters()))
    for name, parameter in network.named_parameters():
        role = roles[name]
        if role.kind == "norm":
            assert parameter.ndim == 1
            assert role.slices == ()
        else:
            assert sum(role.slices) == parameter.shape[-2]
            assert parameter.ndim == (3 if role.kind == "expert" else 2)
    kinds = {role.kind for role in roles.values()}
    assert kinds == {"matrix", "norm", "embedding"} | (
        {"expert", "router"} if base["experts"] else {"head"}
    )


def test_a_module_that_hides_a_parameter_is_found_out():
    network = build(DENSE)
    network.blocks[1].scale = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match=r"Block declares no role for 'blocks\.1\.scale'"):
        network.roles()


def test_initial_weights_follow_the_seed_alone():
    a, b, other = build(MOE), build(MOE), build(MOE, seed=1)
    double = build(MOE, torch.float64)
    for (name, x), y, z, d in zip(
        a.named_parameters(), b.parameters(), other.parameters(), double.parameters(), strict=True
    ):
        assert torch.equal(x, y)
        assert torch.equal(x.double(), d), name
        if name.endswith("norm.weight"):
            assert torch.equal(x, torch.ones_like(x))
        else:
            assert not torch.equal(x, z)
            # The sample's spread around 0.2: 5 standard errors of n draws.
            assert abs(x.std() / 0.2 - 1) < 5 / math.sqrt(2 * x.numel())


def test_the_first_loss_is_what_the_initialisation_implies():
    network = LanguageModel(model("dense", "smoke"), torch.float32)
    network.init_weights(0)
    config = network.config
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randint(0, config.vocab_size, (2, 4, 128), generator=generator)
    sums = network.loss_sums(inputs, targets)
    # 512 targets whose logits have variance 1: a standard error of 0.044, three of them.
    assert float((sums.cross_entropy / sums.targets).detach()) == pytest.approx(
        expected_initial_loss(config), abs=0.14
    )
    assert expected_initial_loss(model("dense", "full")) == pytest.approx(11.30, abs=0.01)


def test_an_uninitialised_model_shows_itself():
    assert LanguageModel(build(DENSE).config)(tokens(1, 3)).isnan().all()


def test_too_many_positions_are_refused():
    with pytest.raises(ValueError, match="65 tokens are more than the model's 64"):
        build(DENSE)(tokens(1, 65))


def test_dropout_and_router_noise_act_in_training_only():
    network = build(MOE, dropout=0.5, router_noise=1.0)
    inputs = tokens(1, 9)
    assert not torch.equal(network(inputs), network(inputs))
    network.eval()
    assert torch.equal(network(inputs), network(inputs))


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_a_block_is_one_graph_and_compiling_keeps_names_and_numbers(base):
    network, plain = build(base), build(base)
    for block in network.blocks:
        # aot_eager traces forward and backward as the default backend does, without its compiler.
        block.compile(backend="aot_eager", fullgraph=True)
    inputs, targets = tokens(2, 9), tokens(2, 9, seed=2)
    ours = update_gradients(network, inputs, targets, micro_batch=2)
    expected = update_gradients(plain, inputs, targets, micro_batch=2)
    assert list(network.state_dict()) == list(plain.state_dict())
    for name, gradient in expected.items():
        # fp32; decompositions may reassociate.
        assert relative(ours[name], gradient) < 1e-5, name


def test_bf16_compute_leaves_gradients_in_the_masters_dtype():
    network = build(MOE, torch.bfloat16)
    exact = build(MOE, torch.float64)
    inputs, targets = tokens(2, 9), tokens(2, 9, seed=2)
    sums, truth = network.loss_sums(inputs, targets), exact.loss_sums(inputs, targets)
    assert network(inputs).dtype == torch.bfloat16
    assert {sums.cross_entropy.dtype, sums.routing.dtype} == {torch.float32}
    # bf16 keeps 8 bits: a few of its units over two layers.
    assert relative(sums.cross_entropy.detach(), truth.cross_entropy.detach()) < 0.02
    (sums.cross_entropy + sums.routing).backward()
    assert {p.grad.dtype for p in network.parameters()} == {torch.float32}
