"""The estimate of what a micro-step keeps, against what torch keeps: counted on shapes alone, in a
GPU's way, eager and as torch's compiler cuts a block into its two passes."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from harness import presets
from harness.config import replace
from harness.plan import profiles
from models import ops
from models.kernels import attention
from models.lm import LanguageModel
from models.presets import KINDS, model

TOKENS = 2048


def flash(q, k, v, attn_mask=None, is_causal=False, enable_gqa=False):
    """A GPU's attention, which torch does not choose for shapes alone."""
    assert attn_mask is None
    return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, is_causal)[0]


class FusedNorm(torch.autograd.Function):
    """A GPU's norm, which is parts for shapes alone: it keeps its input and a value a row."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, x.new_empty(x.shape[:-1]))
        return torch.empty_like(x)


def kept(kind: str, layers: int, compiled: bool) -> int:
    """Bytes that the backward pass of a micro-step needs, parameters and their copies apart."""
    config = model(kind, "full").model_copy(update={"layers": layers})
    with torch.device("meta"):
        built = LanguageModel(config, torch.bfloat16)
        tokens = torch.zeros(1, TOKENS, dtype=torch.int64)
    if compiled:
        for block in built.blocks:
            block.compile(backend="aot_eager_decomp_partition", dynamic=False, fullgraph=True)
    storages = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    with built.working_weights(), saved_tensors_hooks(keep, lambda tensor: tensor):
        built.hidden(tokens)
    weights = [*built.parameters()]
    for module in built.modules():
        weights += (getattr(module, "kept_copies", None) or {}).values()
    for weight in weights:
        storages.pop(weight.untyped_storage()._cdata, None)
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize(
    ("kind", "compiled"),
    [
        *((kind, False) for kind in KINDS),
        ("moe-active", True),
        *(
            pytest.param(kind, True, marks=pytest.mark.slow)
            for kind in KINDS
            if kind != "moe-active"
        ),
    ],
)
def test_a_layer_keeps_what_is_estimated(kind, compiled, monkeypatch):
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", flash)
    if not compiled:
        monkeypatch.setattr(ops.F, "rms_norm", lambda x, _, w, __: FusedNorm.apply(x, w))
    torch._dynamo.reset()
    found = (kept(kind, 2, compiled) - kept(kind, 1, compiled)) / TOKENS
    estimate = profiles._kept_values if compiled else profiles._layer_values
    said = profiles.HALF * estimate(model(kind, "full"))
    assert 0.93 * said < found < 1.01 * said


def test_compiled_blocks_let_an_80_gb_card_take_a_whole_update():
    config = replace(presets.run("full"), {"train.compile": "blocks"})
    eager = replace(config, {"train.compile": "eager"})
    assert profiles.apply(eager, "80gb").batch.micro_batch == 24
    assert profiles.apply(config, "80gb").batch.micro_batch == 48


@pytest.mark.parametrize(
    "changes",
    [{"train.kernels": ("swiglu",)}, {"model.feed_forward": {"name": "mine.py:Mine"}}],
)
def test_what_the_compiler_does_not_see_is_estimated_as_eager(changes):
    config = replace(presets.run("full"), {"train.compile": "blocks", **changes})
    eager = replace(config, {"train.compile": "eager"})
    assert profiles.memory_bytes(config, 8) == profiles.memory_bytes(eager, 8)
