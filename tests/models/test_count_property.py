"""The formula of `models.config` counts what the module holds, for any configuration."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import ModelConfig, active_parameters, total_parameters
from models.lm import LanguageModel, count_parameters
from models.presets import model

CONFIGS = st.builds(
    lambda width, layers, kv, group, half, ffn, swiglu, norm, tied, moe: ModelConfig(
        vocab_size=50, width=width, layers=layers, heads=kv * group, kv_heads=kv,
        head_dim=2 * half, ffn=ffn, activation="swiglu" if swiglu else "silu", qk_norm=norm,
        rope_theta=1e4, norm_eps=1e-5, tied=tied, init_std=0.02, max_seq_len=8, dropout=0.0,
        experts=moe[0], top_k=moe[1], balance_weight=0.0, z_weight=0.0, router_noise=0.0,
    ),
    st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3),
    st.integers(1, 4), st.integers(1, 9), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from([(0, 0), (2, 1), (3, 2), (4, 4)]),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(CONFIGS)
def test_formula_and_module_agree(config):
    with torch.device("meta"):
        counted = count_parameters(LanguageModel(config))
    assert counted == (total_parameters(config), active_parameters(config))


def test_smollm2_and_the_seeds_baseline():
    with torch.device("meta"):
        assert count_parameters(LanguageModel(model("dense", "full"))).total == 134_515_008
        moe = count_parameters(LanguageModel(model("moe-160m", "full")))
    assert moe == (167_814_656, 67_151_360)
