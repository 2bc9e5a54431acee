"""Logits and gradients against transformers' own Llama and Mixtral, with shared random weights."""

import re

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoModelForCausalLM,
    LlamaForCausalLM,
    MixtralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from models.hf import _places, to_transformers
from tests.models.small import DENSE, MOE, build, relative, tokens

CASES = {
    "llama, 5 heads on 1": (DENSE, (2, 13)),
    "llama, untied": (DENSE | {"tied": False, "heads": 4, "kv_heads": 2, "head_dim": 6}, (2, 13)),
    "llama, sequence 1": (DENSE, (2, 1)),
    "llama, sequence 2047": (DENSE | {"max_seq_len": 2048, "rope_theta": 100_000.0}, (1, 2047)),
    "mixtral, 3 experts top-2": (MOE, (2, 13)),
    "mixtral, untied, sequence 1, batch 1": (MOE | {"tied": False}, (1, 1)),
    "mixtral, top-1 of 8": (MOE | {"experts": 8, "top_k": 1}, (3, 17)),
    "mixtral, sequence 2047": (MOE | {"max_seq_len": 2048}, (1, 2047)),
}


def their_gradients(model, places):
    """Under the layout's names; transformers holds Mixtral's experts fused in memory."""
    gradients = {name: p.grad for name, p in model.named_parameters()}
    for name in [n for n in gradients if n.endswith("mlp.experts.gate_up_proj")]:
        prefix = name.removesuffix("mlp.experts.gate_up_proj")
        theirs = f"{prefix}block_sparse_moe"
        gradients[f"{theirs}.gate.weight"] = gradients[f"{prefix}mlp.gate.weight"]
        down = gradients[f"{prefix}mlp.experts.down_proj"]
        for expert, both in enumerate(gradients[name]):
            gate, up = both.chunk(2)
            for part, value in (("w1", gate), ("w3", up), ("w2", down[expert])):
                gradients[f"{theirs}.experts.{expert}.{part}.weight"] = value
    return {place.theirs: gradients[place.theirs] for place in places}


@pytest.mark.parametrize(("base", "shape"), CASES.values(), ids=CASES)
def test_logits_and_gradients_equal_transformers(base, shape, tmp_path):
    ours = build(base)
    for norm in [p for name, p in ours.named_parameters() if name.endswith("norm.weight")]:
        norm.data += 0.2 * torch.randn(norm.shape, generator=torch.Generator().manual_seed(3))
    to_transformers(ours, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs) is (MixtralForCausalLM if base["experts"] else LlamaForCausalLM)
    inputs, targets = tokens(*shape), tokens(*shape, seed=2)

    logits, expected = ours(inputs), theirs(input_ids=inputs).logits
    # The project's contract for fp32; measured 2e-6.
    assert (logits - expected).abs().max() < 1e-4
    ours.loss_sums(inputs, targets).cross_entropy.backward()
    F.cross_entropy(expected.flatten(0, 1), targets.flatten(), reduction="sum").backward()
    places = list(_places(ours.config))
    reference = their_gradients(theirs, places)
    mine = {name: p.grad for name, p in ours.named_parameters()}
    whole = torch.cat([g.flatten() for g in reference.values()]).norm()
    for place in places:
        gradient = place.of(mine[place.ours])
        # 1e-3 relative is the contract (measured 1e-5). Some gradients are nothing but rounding
        # (queries and keys of a sequence of 1, experts without tokens): there 1e-6 of the whole.
        bound = 1e-3 * reference[place.theirs].norm() + 1e-6 * whole
        assert (gradient - reference[place.theirs]).norm() <= bound, place.theirs


def test_the_checks_above_can_fail(tmp_path):
    ours = build(DENSE)
    to_transformers(ours, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    ours.blocks[0].attention.query_key_value.weight.data *= 1.01
    inputs = tokens(2, 13)
    with torch.no_grad():
        assert relative(ours(inputs), theirs(input_ids=inputs).logits) > 1e-4


def test_qk_norm_equals_qwen3s():
    # Not a layout that we write: of transformers' models it is the one with our QK-norm.
    ours = build(DENSE | {"qk_norm": True})
    for name, p in ours.named_parameters():
        if re.search("(query|key)_norm", name):
            p.data += 0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3))
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=97, hidden_size=40, intermediate_size=56, num_hidden_layers=2,
            num_attention_heads=5, num_key_value_heads=1, head_dim=8, rms_norm_eps=1e-5,
            max_position_embeddings=64, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        )
    )  # fmt: skip
    mine = dict(ours.named_parameters())
    state = {place.theirs: place.of(mine[place.ours]) for place in _places(ours.config)}
    for layer in range(2):
        for short, long in (("q", "query"), ("k", "key")):
            state[f"model.layers.{layer}.self_attn.{short}_norm.weight"] = mine[
                f"blocks.{layer}.attention.{long}_norm.weight"
            ]
    state["lm_head.weight"] = mine["embedding.weight"]
    theirs.load_state_dict(state)
    inputs = tokens(2, 13)
    with torch.no_grad():
        assert (ours(inputs) - theirs(input_ids=inputs).logits).abs().max() < 1e-4


def test_the_two_matrix_feed_forward():
    layer = build(DENSE | {"activation": "silu"}).blocks[0].feed_forward
    x = torch.randn(3, 40)
    expected = F.silu(x @ layer.up.weight.T) @ layer.down.weight.T
    torch.testing.assert_close(layer(x), expected)
