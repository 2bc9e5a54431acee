"""The models that recipes name, and what training the dense one would cost on rented cards.

Costs are from a measured rate where a timing run of SmolLM2-135M on that card is among the records,
otherwise from the roofline at a stated efficiency, and then marked "projected". What is unknown
reads "n/a".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness import presets
from harness.evidence.costs import BUDGETS, EFFICIENCY, Cost, Rate, measured, projected
from harness.machine.prices import NO_PRICE, Price
from harness.plan import profiles
from harness.recipe import SCALES
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.columns import Measure, given, tabulate
from harness.report.inputs import Inputs
from harness.report.table import ABSENT, Cell, Table, millions, plain
from models.config import ModelConfig, active_parameters, flops_per_token, total_parameters
from models.presets import CONTROL, KINDS, model

DEVICES = ("rtx-4090", "h100-sxm", "h100-pcie")
SEQ_LEN = 2048
"""Tokens of context that the FLOPs a token are counted for."""

Named = tuple[str, ModelConfig]
"""`kind at scale`, and the model."""


def about(inputs: Inputs) -> list[str | Table]:
    """The recipe's page below its results."""
    return [
        "## The models\n\n"
        "Next-token cross-entropy; mixtures of experts add a load-balancing and a router z loss, "
        "per sequence. Decoder-only transformers: grouped-query attention, RMSNorm, rotary "
        "positions, tied embeddings, and a SwiGLU feed-forward or a mixture of experts.",
        architecture(),
        "## What the real size would cost",
        cost(inputs.records, inputs.prices),
    ]


def architecture() -> Table:
    """A row a model and scale."""
    return tabulate(
        "architecture",
        "The models that recipes name, by scale.",
        "model@scale",
        MODELS,
        [
            (f"{kind}@{scale}", (f"{kind} at {scale}", model(kind, scale)))
            for scale in reversed(SCALES)
            for kind in (*KINDS, *([CONTROL] if scale == "proxy" else []))
        ],
        notes=(
            "dense at full is SmolLM2-135M; moe-active and moe-total share its trunk and match its "
            "active and its total parameters; moe-160m is the seed card's baseline; dense-small is "
            "dense, of moe-total's active size.",
            "flops_per_token: training, active parameters, causal attention over sequences as long "
            f"as the model takes, {SEQ_LEN:,} tokens at most.",
        ),
        command="smol show dense_vs_moe --scale full",
    )


def _counted(
    name: str, what: str, value: Callable[[ModelConfig], str], unit: str = ""
) -> Measure[Named]:
    def cell(row: Named) -> Cell:
        return plain(value(row[1]), (), what, f"resolved configuration of {row[0]}")

    return given(name, cell, unit)


MODELS = (
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


def rate_of(records: Sequence[Record], device: str) -> Rate:
    """Measured where there is a record, else projected, at the batch that the device takes."""
    config = profiles.apply(presets.run("full"), device)
    return measured(records, config.model, device) or projected(
        config.model,
        device,
        config.batch.micro_batch,
        config.data.seq_len,
        grad_accum=config.batch.grad_accum,
    )


@dataclass(frozen=True)
class _Plan:
    """So many tokens on one device, and the records that its rate was measured by."""

    cost: Cost
    per_update: int
    paths: tuple[str, ...]


def cost(records: Sequence[Record], prices: Sequence[Price]) -> Table:
    """A row a device and number of tokens; the price is the device's first."""
    per_update = presets.run("full").tokens_per_update
    rates = {device: rate_of(records, device) for device in DEVICES}
    rented = {device: next((p for p in prices if p.device == device), None) for device in DEVICES}
    keys = {record.key: path_of(record) for record in records}
    return tabulate(
        "cost",
        "What training SmolLM2-135M on so many tokens would take on one card, at the batch "
        "of the `full` scale.",
        "device@tokens",
        RENTED,
        [
            (
                f"{device}@{tokens // 10**9}B",
                _Plan(
                    Cost(tokens, rate, rented[device]),
                    per_update,
                    tuple(keys[key] for key in rate.records),
                ),
            )
            for device, rate in rates.items()
            for tokens in BUDGETS
        ],
        notes=(
            f"projected: {EFFICIENCY:.0%} of the roofline (for each operation the larger of "
            "compute and memory time at the card's published peaks). The share is assumed; nobody "
            "measured it. No start-up, validation or checkpoint is in it.",
            f"updates: of {per_update:,} tokens each, whatever micro-steps they are made of.",
            *(f"{p.device}: {p.text}, {p.source}" for p in rented.values() if p),
        ),
        command="smol card",
    )


def _planned(
    name: str,
    what: str | Callable[[_Plan], str],
    value: Callable[[_Plan], str | None],
    unit: str = "",
    *,
    left: bool = False,
) -> Measure[_Plan]:
    def cell(row: _Plan) -> Cell:
        rate = row.cost.rate
        how = f"{rate.basis}: {rate.origin}; resolved configuration of the full scale"
        said = what if isinstance(what, str) else what(row)
        return plain(value(row) or NO_PRICE, row.paths, said, how)

    return given(name, cell, unit, left=left)


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def _price(row: _Plan) -> str:
    return row.cost.price.text if row.cost.price else NO_PRICE


RENTED = (
    _planned(
        "updates", "updates of the `full` batch", lambda p: f"{p.cost.tokens / p.per_update:,.0f}"
    ),
    _planned(
        "rate", "tokens a second", lambda p: _number(p.cost.rate.tokens_per_second, ",.0f"),
        "tokens/s",
    ),
    _planned("basis", "where the rate comes from", lambda p: p.cost.rate.basis, left=True),
    _planned("hours", "tokens / rate", lambda p: _number(p.cost.hours, ",.1f"), "h"),
    _planned(
        "dollars", lambda p: f"hours x price of one device, {_price(p)}",
        lambda p: _number(p.cost.dollars, ",.2f"), "USD",
    ),
    _planned("price", "price of one device for one hour", _price, left=True),
)  # fmt: skip
