"""The seed card's own comparison: its dense model and its mixture of experts, as configured there.

A bundle: depth, width, activation, experts, batch, accumulation, sequence length, rates and
warm-up differ at once, so a difference belongs to the two bundles and to nothing within them.

- dense: 576 wide, 30 deep, 9 heads on 3, SwiGLU 2304, QK-norm; 4 x 2048 tokens, accumulation 12;
  Muon 0.02, AdamW 0.003.
- moe: 512 wide, 8 deep, 8 experts of 2048 (top 2), router noise 0.1; 16 x 1024, accumulation 1;
  Muon 0.04, AdamW 0.006.
- both: cosine to 10 % after a warm-up of 5 % of the updates (so of as many tokens, but of six
  times as many updates for the moe), AdamW decay 0.2 and none in Muon, dropout 0.1. What the
  seed's files do not say is the preset's.

`proxy` and `smoke` keep rates, batches, and the ratios of the rest: depth 11:3 and 7:2 (30:8),
sequences 2:1, the dense feed-forward four widths. Unlike the seed's "500 steps", which were 41
updates for one arm and 500 for the other, the arms end at equal tokens and at equal FLOPs.

At `proxy`, on two cores with two runs at a time: 60 updates x 7 s (dense), 360 (tokens) and
1,069 (FLOPs; a cosine needs a run for each horizon) x 0.8 s (moe), and about 90 s of validation
and start-up: 1,650 s a seed, 3 seeds, 41 minutes.
"""

import math
from collections.abc import Mapping
from typing import Any

from harness import presets
from harness.config import replace
from harness.recipe import ActiveFlops, Axis, Primary, Recipe, Scale, Tokens, recipe
from models.config import ModelConfig
from models.presets import model

DENSE: Mapping[str, Mapping[str, Any]] = {
    "full": {"ffn": 2304},
    "proxy": {"width": 192, "layers": 11, "heads": 3, "kv_heads": 1, "ffn": 768},
    "smoke": {"width": 96, "layers": 7, "heads": 3, "kv_heads": 1, "ffn": 384},
}
MOE: Mapping[str, Mapping[str, Any]] = {
    "full": {},
    "proxy": {"width": 168, "layers": 3, "head_dim": 42, "ffn": 672},
    "smoke": {"width": 80, "layers": 2, "head_dim": 20, "ffn": 320},
}
"""What differs from the presets `dense` and `moe-160m`."""
SEQ_LEN = {"full": 2048, "proxy": 256, "smoke": 128}
UPDATES = {"full": 500, "proxy": 60, "smoke": 20}
"""Of the dense arm, at the token horizon."""
DROPOUT = 0.1
WARMUP = 0.05
EVALUATIONS = 5
"""Validations up to the token horizon."""
FIELDS = (
    "model.*", "data.seq_len", "batch.micro_batch", "batch.grad_accum", "optim.muon_lr",
    "optim.adamw_lr", "schedule.warmup_updates", "train.eval_every",
)  # fmt: skip
"""All that differs between the bundles."""


@recipe(
    "as_published",
    primary=Primary(metric="val_loss", at="tokens", pairs=(("dense", "moe"),)),
    seeds={"smoke": 3, "proxy": 3, "full": 3},
)
def as_published(scale: Scale) -> Recipe:
    """The seed card's dense and MoE as published: a bundle, several things differ at once."""
    seq_len = SEQ_LEN[scale]
    tokens = UPDATES[scale] * 4 * 12 * seq_len
    dense, moe = _dense(scale), _moe(scale)
    bundles = {
        "dense": _bundle(dense, tokens, (4, 12, seq_len), muon_lr=0.02, adamw_lr=0.003),
        "moe": _bundle(moe, tokens, (16, 1, seq_len // 2), muon_lr=0.04, adamw_lr=0.006),
    }
    both = {
        "train.tokens": tokens,
        "schedule.name": "cosine",
        "schedule.final_fraction": 0.1,
        "optim.muon_weight_decay": 0.0,
        "optim.adamw_weight_decay": 0.2,
    }
    return Recipe(
        replace(presets.question(scale), {**both, **bundles["dense"]}),
        axes=[Axis("bundle", FIELDS, bundles)],
        horizons=[Tokens(tokens), ActiveFlops.of("dense")],
        notes=dict.fromkeys(bundles, "a bundle, with the settings published for it"),
        role="bundle",
        views=["comparison", "curves", "experts"],
    )


def _dense(scale: Scale) -> ModelConfig:
    changed = {"qk_norm": True, "dropout": DROPOUT, **DENSE[scale]}
    sizes = {**model("dense", scale).model_dump(), **changed}
    return ModelConfig.model_validate({**sizes, "init_std": sizes["width"] ** -0.5})


def _moe(scale: Scale) -> ModelConfig:
    changed = {"router_noise": 0.1, "dropout": DROPOUT, **MOE[scale]}
    return ModelConfig.model_validate({**model("moe-160m", scale).model_dump(), **changed})


def _bundle(
    trained: ModelConfig,
    tokens: int,
    batch: tuple[int, int, int],
    **rates: float,
) -> dict[str, Any]:
    """One arm's values of FIELDS; `batch` is micro-batch, accumulation and sequence length."""
    updates = tokens // math.prod(batch)
    micro_batch, grad_accum, seq_len = batch
    return {
        "model": trained,
        "data.seq_len": seq_len,
        "batch.micro_batch": micro_batch,
        "batch.grad_accum": grad_accum,
        **{f"optim.{name}": rate for name, rate in rates.items()},
        "schedule.warmup_updates": round(WARMUP * updates),
        "train.eval_every": updates // EVALUATIONS,
    }
