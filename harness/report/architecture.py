"""The view `architecture`: the models by name at each scale, counted from their configurations.

May not import torch.
"""

from __future__ import annotations

from harness.recipe import SCALES
from harness.report.tables import Cell, Column, Row, Table, millions
from models.config import ModelConfig, active_parameters, flops_per_token, total_parameters
from models.presets import KINDS, model

SEQ_LEN = 2048
"""Tokens of context that the FLOPs a token are counted for."""


def architecture() -> Table:
    """A row a model and scale."""
    columns = (
        Column("width"),
        Column("layers"),
        Column("heads", "query/key-value"),
        Column("ffn"),
        Column("experts", "top-k of"),
        Column("vocabulary"),
        Column("total_parameters", "M"),
        Column("active_parameters", "M"),
        Column("flops_per_token", "MFLOP"),
    )
    return Table(
        name="architecture",
        caption="The models that recipes name, by scale.",
        corner="model@scale",
        columns=columns,
        rows=tuple(
            Row(f"{kind}@{scale}", _cells(model(kind, scale), f"{kind} at {scale}"))
            for scale in reversed(SCALES)
            for kind in KINDS
        ),
        notes=(
            "dense at full is SmolLM2-135M; moe-active and moe-total share its trunk and match its "
            "active and its total parameters; moe-160m is the seed card's baseline.",
            "flops_per_token: training, active parameters, causal attention over sequences as long "
            f"as the model takes, {SEQ_LEN:,} tokens at most.",
        ),
        command="smol show dense_vs_moe --scale full",
    )


def _cells(m: ModelConfig, name: str) -> tuple[Cell, ...]:
    flops = flops_per_token(m, min(SEQ_LEN, m.max_seq_len))
    values = {
        "width of the residual stream": f"{m.width}",
        "blocks": f"{m.layers}",
        "heads of queries, and of keys and values": f"{m.heads}/{m.kv_heads}",
        "hidden width of the feed-forward, or of each expert": f"{m.ffn}",
        "experts that a token uses, of how many": f"{m.top_k} of {m.experts}" if m.is_moe else "–",
        "entries of the token embedding": f"{m.vocab_size:,}",
        "parameters, millions": millions(total_parameters(m)),
        "parameters that a token passes through, millions": millions(active_parameters(m)),
        "training FLOPs a token, millions": f"{flops / 1e6:,.1f}",
    }
    return tuple(
        Cell(text, (), what, f"resolved configuration of {name}", 0)
        for what, text in values.items()
    )
