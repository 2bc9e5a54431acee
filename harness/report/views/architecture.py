"""The table `architecture`: models by name at each scale, counted from their configurations."""

from __future__ import annotations

from collections.abc import Callable

from harness.recipe import SCALES
from harness.report.columns import Found, Measure, tabulate
from harness.report.table import ABSENT, Table, millions, plain
from models.config import ModelConfig, active_parameters, flops_per_token, total_parameters
from models.presets import KINDS, model

SEQ_LEN = 2048
"""Tokens of context that the FLOPs a token are counted for."""

Named = tuple[str, ModelConfig]
"""`kind at scale`, and the model."""


def architecture(command: str) -> Table:
    """A row a model and scale."""
    return tabulate(
        "architecture",
        "The models that recipes name, by scale.",
        "model@scale",
        MEASURES,
        [
            (f"{kind}@{scale}", (f"{kind} at {scale}", model(kind, scale)))
            for scale in reversed(SCALES)
            for kind in KINDS
        ],
        notes=(
            "dense at full is SmolLM2-135M; moe-active and moe-total share its trunk and match its "
            "active and its total parameters; moe-160m is the seed card's baseline.",
            "flops_per_token: training, active parameters, causal attention over sequences as long "
            f"as the model takes, {SEQ_LEN:,} tokens at most.",
        ),
        command=command,
    )


def _counted(
    name: str, what: str, value: Callable[[ModelConfig], str], unit: str = ""
) -> Measure[Named]:
    def values(row: Named) -> Found:
        return [((row[0], value(row[1])), ())]

    return Measure(
        name, what, values,
        lambda found, _, what: plain(
            found[0][1], (), what, f"resolved configuration of {found[0][0]}"
        ),
        unit,
    )  # fmt: skip


MEASURES = (
    _counted("width", "width of the residual stream", lambda m: f"{m.width}"),
    _counted("layers", "blocks", lambda m: f"{m.layers}"),
    _counted(
        "heads", "heads of queries, and of keys and values", lambda m: f"{m.heads}/{m.kv_heads}",
        "query/key-value",
    ),
    _counted("ffn", "hidden width of the feed-forward, or of each expert", lambda m: f"{m.ffn}"),
    _counted(
        "experts", "experts that a token uses, of how many",
        lambda m: f"{m.top_k} of {m.experts}" if m.is_moe else ABSENT, "top-k of",
    ),
    _counted("vocabulary", "entries of the token embedding", lambda m: f"{m.vocab_size:,}"),
    _counted(
        "total_parameters", "parameters, millions", lambda m: millions(total_parameters(m)), "M"
    ),
    _counted(
        "active_parameters", "parameters that a token passes through, millions",
        lambda m: millions(active_parameters(m)), "M",
    ),
    _counted(
        "flops_per_token", "training FLOPs a token, millions",
        lambda m: f"{flops_per_token(m, min(SEQ_LEN, m.max_seq_len)) / 1e6:,.1f}", "MFLOP",
    ),
)  # fmt: skip
