"""The update: how it is cut into micro-steps must not matter, nor what is masked."""

import numpy as np
import pytest
import torch

from harness import presets
from harness.data.batches import Batch
from harness.errors import RequestError
from harness.optim.build import build
from harness.train.update import accumulate, update
from models.lm import LanguageModel
from models.presets import model

CPU = torch.device("cpu")


def tiny(kind: str, dtype: torch.dtype) -> LanguageModel:
    small = model(kind, "smoke").model_copy(update={"vocab_size": 97, "layers": 2})
    lm = LanguageModel(small, dtype).to(torch.promote_types(dtype, torch.float32))
    lm.init_weights(1)
    return lm


def batch(masked: bool = True) -> Batch:
    random = np.random.default_rng(0)
    tokens = random.integers(0, 97, (8, 24))
    targets = np.concatenate([tokens[:, 1:], np.full((8, 1), -100)], axis=1)
    if masked:  # unequally many targets in each sequence, and one with none
        for row in range(8):
            targets[row, : 3 * row] = -100
    return Batch(tokens, targets)


@pytest.mark.parametrize("kind", ["dense", "moe-active", "moe-160m"])
@pytest.mark.parametrize(
    # Summation order is all that differs: a few thousand round-offs of 1e-16 and 6e-8.
    ("dtype", "tolerance"),
    [(torch.float64, 1e-10), (torch.float32, 1e-5)],
)
def test_8x1_and_1x8_give_equal_gradients(kind, dtype, tolerance):
    gradients = []
    for micro_batch in (8, 1, 3):
        lm = tiny(kind, dtype)
        accumulate(lm, batch(), micro_batch, CPU)
        gradients.append({name: p.grad for name, p in lm.named_parameters()})
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            difference = (gradient - other[name]).norm() / gradient.norm()
            assert difference < tolerance, name


@pytest.mark.parametrize("kind", ["dense", "moe-active"])
def test_losses_of_several_updates_do_not_depend_on_how_a_card_cuts_them(kind):
    """What a device profile chooses is a matter of memory alone."""
    settings = presets.run("smoke").optim.model_copy(update={"muon_ns_dtype": "fp32"})
    losses = []
    for micro_batch in (8, 4, 2):
        lm = tiny(kind, torch.float32)
        optimizers = build(settings, lm)
        losses.append(
            [
                update(
                    lm, optimizers, batch(), micro_batch=micro_batch, clip_norm=1.0, factor=1.0,
                    device=CPU,
                ).loss
                for _ in range(3)
            ]
        )  # fmt: skip
    assert losses[0][0] > losses[0][2] + 0.1  # it learns
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] == pytest.approx(losses[0], rel=1e-5)


def test_loss_is_the_mean_over_target_tokens():
    lm, data = tiny("dense", torch.float64), batch()
    loss, routing = accumulate(lm, data, 3, CPU)
    logits = lm(torch.from_numpy(data.tokens)).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.targets).flatten())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)  # the sum is kept in fp32
    assert routing.item() == 0.0


def test_an_update_without_targets_is_refused():
    data = batch()
    data.targets[:] = -100
    with pytest.raises(RequestError, match="no target token"):
        accumulate(tiny("dense", torch.float32), data, 8, CPU)


def test_an_update_that_is_not_finite_leaves_the_weights_alone():
    lm = tiny("dense", torch.float32)
    optim = presets.run("smoke").optim.model_copy(update={"muon_ns_dtype": "fp32"})
    optimizers = build(optim, lm)
    before = {name: p.detach().clone() for name, p in lm.named_parameters()}
    with torch.no_grad():
        lm.final_norm.weight[0] = torch.inf
        before["final_norm.weight"] = lm.final_norm.weight.clone()
    result = update(lm, optimizers, batch(), micro_batch=8, clip_norm=1.0, factor=1.0, device=CPU)
    assert not np.isfinite(result.loss) or not np.isfinite(result.grad_norm)
    for name, parameter in lm.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_clipping_scales_the_whole_gradient():
    lm = tiny("dense", torch.float64)
    optimizers = build(presets.run("smoke").optim.model_copy(update={"name": "adamw"}), lm)
    seen = {}
    optimizers.step = lambda: seen.update(
        norm=torch.cat([p.grad.flatten() for p in lm.parameters()]).norm().item()
    )
    result = update(lm, optimizers, batch(), micro_batch=8, clip_norm=0.01, factor=1.0, device=CPU)
    assert result.grad_norm > 0.01
    assert seen["norm"] == pytest.approx(0.01, rel=1e-6)  # torch adds 1e-6 to the norm
