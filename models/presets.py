"""The models by name: `model(kind, scale)` gives a complete configuration.

`full` holds the published sizes; `proxy` and `smoke` keep the shape (depth to width, 3:1 or 2:1
queries to keys, feed-forward about 2.7 widths, eight experts) at a size that a CPU can train.
"""

from __future__ import annotations

from models.config import ModelConfig

KINDS = ("dense", "moe-active", "moe-total", "moe-160m")
CONTROL = "dense-small"
"""A kind that is there for what it says about another."""
SCALES = ("smoke", "proxy", "full")
RUNG_WIDTHS = {"rung1": 32, "rung2": 48, "rung3": 64, "rung4": 96}
"""A CPU's ladder, one family by one rule (`_rung`): 0.16M to 1.1M parameters with the 4,096
embeddings, 0.03M to 0.7M without."""
CARD_RUNG_WIDTHS = {"rung5": 192, "rung6": 256, "rung7": 384, "rung8": 576}
"""A GPU's ladder, one family by another rule (`_card_rung`): 13M to 135M parameters with the 49,152
embeddings, 4M to 106M without. The last is SmolLM2-135M."""


def model(kind: str, scale: str) -> ModelConfig:
    """The preset of a kind at a scale. Raises KeyError for a name that is not there."""
    known = (*SCALES, *RUNG_WIDTHS, *CARD_RUNG_WIDTHS)
    if scale not in known:
        raise KeyError(f"no scale '{scale}': there are {', '.join(known)}")
    builders = {
        "dense": dense,
        "moe-active": moe_active,
        "moe-total": moe_total,
        "moe-160m": moe_160m,
        CONTROL: dense_small,
    }
    if kind not in builders:
        raise KeyError(f"no model '{kind}': there are {', '.join(builders)}")
    return builders[kind](scale)


def dense(scale: str) -> ModelConfig:
    """SmolLM2-135M at `full`: 134,515,008 parameters (config.json of the released model)."""
    sizes = {
        "full": _card_rung(CARD_RUNG_WIDTHS["rung8"]),
        "proxy": dict(
            vocab_size=4096, width=256, layers=6, heads=4, kv_heads=2, ffn=704, head_dim=64,
            max_seq_len=1024, rope_theta=10_000.0,
        ),
        "smoke": dict(
            vocab_size=4096, width=128, layers=4, heads=4, kv_heads=2, ffn=352, head_dim=32,
            max_seq_len=512, rope_theta=10_000.0,
        ),
        **{name: _rung(width) for name, width in RUNG_WIDTHS.items()},
        **{name: _card_rung(width) for name, width in CARD_RUNG_WIDTHS.items()},
    }[scale]  # fmt: skip
    return ModelConfig.model_validate(
        dict(
            **sizes,
            activation="swiglu",
            qk_norm=False,
            norm_eps=1e-5,
            tied=True,
            # The published initialisation: 1/sqrt(width), for every matrix.
            init_std=sizes["width"] ** -0.5,
            dropout=0.0,
            experts=0,
            top_k=0,
            balance_weight=0.0,
            z_weight=0.0,
            router_noise=0.0,
        )
    )


def _rung(width: int) -> dict[str, int | float]:
    """A rung of the ladder: heads stay 16 wide, so that their number and the layers grow with the
    width, and the feed-forward is 2.75 widths."""
    return dict(
        vocab_size=4096, width=width, layers=width // 16, heads=width // 16,
        kv_heads=width // 16, ffn=width * 11 // 4, head_dim=16, max_seq_len=512,
        rope_theta=10_000.0,
    )  # fmt: skip


def _card_rung(width: int) -> dict[str, int | float]:
    """A rung of a card's ladder, SmolLM2-135M's shape at a width: heads stay 64 wide and three of
    them share keys and values (four at 256), layers grow with the width, and the feed-forward is
    8/3 widths, rounded up to 64."""
    heads = width // 64
    return dict(
        vocab_size=49_152, width=width, layers=round(width * 30 / 576), heads=heads,
        kv_heads=max(1, heads // 3), ffn=-(-width * 8 // 3 // 64) * 64, head_dim=64,
        max_seq_len=8192, rope_theta=100_000.0,
    )  # fmt: skip


def moe_active(scale: str) -> ModelConfig:
    """The dense trunk with 8 SwiGLU experts, top 2, each half as wide as the dense feed-forward:
    a token passes through as many parameters as in the dense model (and the router)."""
    trunk = dense(scale)
    return _with_experts(trunk, ffn=trunk.ffn // 2)


def moe_total(scale: str) -> ModelConfig:
    """The dense trunk with 8 SwiGLU experts, top 2, which together are as large as the dense
    feed-forward: as many parameters in all, a quarter of the feed-forward active."""
    trunk = dense(scale)
    return _with_experts(trunk, ffn=trunk.ffn // 8)


def dense_small(scale: str) -> ModelConfig:
    """The dense trunk with a quarter of its feed-forward: as many parameters as a token passes
    through in `moe_total` (but its router's), all of them in use. Its control at equal FLOPs."""
    trunk = dense(scale)
    return trunk.model_copy(update=dict(ffn=trunk.ffn // 4))


def _with_experts(trunk: ModelConfig, ffn: int) -> ModelConfig:
    return trunk.model_copy(
        update=dict(ffn=ffn, experts=8, top_k=2, balance_weight=0.01, z_weight=0.001)
    )


def moe_160m(scale: str) -> ModelConfig:
    """The seed card's "160M" baseline: at `full` 167,814,656 parameters, 67,151,360 active.

    Two-matrix SiLU experts, as many key as query heads, QK-norm; wider and shallower than the
    dense model, so it is matched to nothing. Router noise is 0 here (0.1 in the original).
    """
    sizes = {
        "full": dict(
            vocab_size=49_152, width=512, layers=8, heads=8, kv_heads=8, ffn=2048, head_dim=64,
            max_seq_len=2048,
        ),
        "proxy": dict(
            vocab_size=4096, width=224, layers=2, heads=4, kv_heads=4, ffn=896, head_dim=56,
            max_seq_len=1024,
        ),
        "smoke": dict(
            vocab_size=4096, width=112, layers=2, heads=4, kv_heads=4, ffn=448, head_dim=28,
            max_seq_len=512,
        ),
    }[scale]  # fmt: skip
    return ModelConfig.model_validate(
        dict(
            **sizes,
            activation="silu",
            qk_norm=True,
            rope_theta=10_000.0,
            norm_eps=1e-5,
            tied=True,
            init_std=0.02,
            dropout=0.0,
            experts=8,
            top_k=2,
            balance_weight=0.01,
            z_weight=0.0,
            router_noise=0.0,
        )
    )
