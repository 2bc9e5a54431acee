"""What a claim can state, and the equations its numbers must satisfy among each other: data.

Each says why it is true where that is not plain. May not know how they are solved or judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

DIMENSIONS: dict[str, str] = {
    # Amounts of work. "Step" is the claim's own word; what it is, the file's `step` says.
    "tokens": "count",
    "dataset_tokens": "count",
    "epochs": "count",
    "steps": "count",
    "updates": "count",
    "micro_steps": "count",
    "tokens_per_step": "count",
    "tokens_per_update": "count",
    "tokens_per_micro_step": "count",
    "sequences_per_update": "count",
    "micro_batch": "count",
    "grad_accum": "count",
    "seq_len": "count",
    "devices": "count",
    # Time and rates. Rates are of the whole machine but for those `per_device_second`.
    "time": "time",
    "fixed_time": "time",
    "time_per_step": "time",
    "time_per_update": "time",
    "time_before": "time",
    "time_after": "time",
    "device_time": "time",
    "tokens_per_second": "rate",
    "tokens_per_device_second": "rate",
    "steps_per_second": "rate",
    "updates_per_second": "rate",
    "micro_steps_per_second": "rate",
    "steady_per_second": "rate",
    "decode_tokens_per_second": "rate",
    # The model and what it computes.
    "parameters": "count",
    "active_parameters": "count",
    "embedding_parameters": "count",
    "non_embedding_parameters": "count",
    "tokens_per_parameter": "plain",
    "bytes_per_parameter": "plain",
    "weight_bytes": "bytes",
    "optimizer_bytes_per_parameter": "plain",
    "optimizer_bytes": "bytes",
    "kv_values_per_token": "count",
    "bytes_per_value": "plain",
    "kv_bytes_per_token": "bytes",
    "sequences": "count",
    "kv_cache_bytes": "bytes",
    "flops_per_token": "flops",
    "total_flops": "flops",
    "flops_per_second": "flop rate",
    "flops_per_device_second": "flop rate",
    "peak_flops": "flop rate",
    "mfu": "fraction",
    # Money, in one currency a claim.
    "cost": "money",
    "price_per_hour": "money rate",
    "price_per_device_hour": "money rate",
    # Quality. Loss is in nats a token.
    "loss": "plain",
    "perplexity": "plain",
    "bits_per_token": "plain",
    "bits_per_byte": "plain",
    "bytes_per_token": "plain",
    "scored_tokens": "count",
    "scored_bytes": "count",
    # Two values and what is said of their difference; `part` of a `whole`.
    "before": "any",
    "after": "any",
    "difference": "any",
    "change": "fraction",
    "reduction": "fraction",
    "ratio": "ratio",
    "speedup": "ratio",
    "faster": "fraction",
    "part": "any",
    "whole": "any",
    "share": "fraction",
    # A mean over runs: `sd` of one run, `se` of their mean, `half_width` of its 95 % interval.
    "mean": "any",
    "sd": "any",
    "se": "any",
    "half_width": "any",
    "seeds": "count",
    # A score: `correct` of so many `questions`.
    "accuracy": "fraction",
    "correct": "count",
    "questions": "count",
}
"""Quantity -> dimension: the vocabulary of claims files."""
SAME_UNIT = (
    ("before", "after", "difference"), ("part", "whole"), ("mean", "sd", "se", "half_width"),
)  # fmt: skip
"""Quantities of dimension "any" that stand in one unit."""

Step = Literal["update", "micro-step"]
"""What a claim's "step" is."""


@dataclass(frozen=True)
class ProductRule:
    """`result` = `constant` x product of `factors`, each to its power."""

    result: str
    factors: tuple[tuple[str, float], ...]
    constant: float = 1.0
    why: str = ""
    """The reading under which it is true, where it is not always."""
    whole: str = ""
    """The factor that is a whole number: the last of them may be begun and not ended."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All quantities, the result first."""
        return (self.result, *(name for name, _ in self.factors))


@dataclass(frozen=True)
class FunctionRule:
    """`result` = `forward`(`argument`), both strictly increasing together, or not."""

    result: str
    argument: str
    forward: Callable[[float], float]
    backward: Callable[[float], float]
    text: str
    """`e^{}`: the arithmetic as shown."""
    back_text: str
    falling: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Both quantities, the result first."""
        return (self.result, self.argument)


@dataclass(frozen=True)
class DifferenceRule:
    """`result` = `larger` - `smaller`; the result may lie below zero."""

    result: str
    larger: str
    smaller: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All three quantities, the result first."""
        return (self.result, self.larger, self.smaller)


Relation = ProductRule | FunctionRule | DifferenceRule


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf  # beyond, a float overflows


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _p(
    result: str, *factors: str, constant: float = 1.0, why: str = "", whole: str = ""
) -> ProductRule:
    """`-name` divides."""
    signed = tuple((f.removeprefix("-"), -1.0 if f.startswith("-") else 1.0) for f in factors)
    return ProductRule(result, signed, constant, why, whole)


HOUR = 1 / 3600
BITS = 1 / math.log(2)

COMMON: tuple[Relation, ...] = (
    # Amounts: what is consumed is what an update consumes, update after update.
    _p("tokens", "updates", "tokens_per_update", whole="updates"),
    _p("tokens", "steps", "tokens_per_step", whole="steps"),
    _p("tokens", "micro_steps", "tokens_per_micro_step", whole="micro_steps"),
    _p("tokens", "epochs", "dataset_tokens"),
    _p("tokens_per_micro_step", "micro_batch", "seq_len", "devices"),
    _p("tokens_per_update", "tokens_per_micro_step", "grad_accum"),
    _p("sequences_per_update", "micro_batch", "grad_accum", "devices"),
    _p("tokens_per_update", "sequences_per_update", "seq_len"),
    # Rate x time = amount.
    _p("tokens", "tokens_per_second", "time"),
    _p("steps", "steps_per_second", "time"),
    _p("updates", "updates_per_second", "time"),
    _p("micro_steps", "micro_steps_per_second", "time"),
    _p("tokens_per_second", "steps_per_second", "tokens_per_step"),
    _p("tokens_per_second", "updates_per_second", "tokens_per_update"),
    _p("tokens_per_second", "micro_steps_per_second", "tokens_per_micro_step"),
    _p("tokens_per_second", "tokens_per_device_second", "devices"),
    _p("time_per_step", "-steps_per_second"),
    _p("time_per_update", "-updates_per_second"),
    _p("device_time", "time", "devices"),
    # Computation.
    _p("flops_per_second", "tokens_per_second", "flops_per_token"),
    _p("flops_per_second", "flops_per_device_second", "devices"),
    _p("flops_per_second", "mfu", "peak_flops", "devices"),
    _p("total_flops", "flops_per_token", "tokens"),
    _p("total_flops", "flops_per_second", "time"),
    _p("tokens", "tokens_per_parameter", "parameters"),
    DifferenceRule("non_embedding_parameters", "parameters", "embedding_parameters"),
    # Memory.
    _p("optimizer_bytes", "parameters", "optimizer_bytes_per_parameter"),
    _p("kv_bytes_per_token", "kv_values_per_token", "bytes_per_value"),
    _p("kv_cache_bytes", "kv_bytes_per_token", "seq_len", "sequences"),
    _p("weight_bytes", "parameters", "bytes_per_parameter"),
    # Money: prices are by the hour, times in seconds.
    _p("cost", "price_per_hour", "time", constant=HOUR),
    _p("cost", "price_per_device_hour", "device_time", constant=HOUR),
    _p("price_per_hour", "price_per_device_hour", "devices"),
    # Quality: perplexity is e to the loss in nats a token; bits a byte are nats / ln 2 / bytes.
    FunctionRule("perplexity", "loss", _exp, _log, "e^({})", "ln({})"),
    _p("bits_per_token", "loss", constant=BITS),
    _p("bits_per_byte", "bits_per_token", "-bytes_per_token"),
    _p("bytes_per_token", "scored_bytes", "-scored_tokens"),
    # Differences. A rate that grows by half takes a third less time.
    DifferenceRule("difference", "after", "before"),
    _p("ratio", "after", "-before"),
    FunctionRule("ratio", "change", lambda c: 1 + c, lambda r: r - 1, "1 + {}", "{} - 1"),
    FunctionRule("ratio", "reduction", lambda c: 1 - c, lambda r: 1 - r, "1 - {}", "1 - {}", True),
    _p("speedup", "time_before", "-time_after"),
    FunctionRule("speedup", "faster", lambda c: 1 + c, lambda r: r - 1, "1 + {}", "{} - 1"),
    _p("share", "part", "-whole"),
    _p("accuracy", "correct", "-questions"),
    # The mean of n runs is nearer to the truth than one by the root of n.
    ProductRule("se", (("sd", 1.0), ("seeds", -0.5))),
)

STEPS: dict[Step, tuple[Relation, ...]] = {
    # What binds the word "step" to the amounts above, under each reading of it.
    "update": (
        _p("tokens_per_step", "tokens_per_update", why="a step being an update"),
        _p("steps", "updates", why="a step being an update"),
        _p("steps_per_second", "updates_per_second", why="a step being an update"),
    ),
    "micro-step": (
        _p("tokens_per_step", "tokens_per_micro_step", why="a step being a micro-step"),
        _p("steps", "micro_steps", why="a step being a micro-step"),
        _p("steps_per_second", "micro_steps_per_second", why="a step being a micro-step"),
    ),
}
