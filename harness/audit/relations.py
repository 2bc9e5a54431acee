"""The equations that a claim's numbers must satisfy among each other, as data.

Each says why it is true where that is not plain. May not know how they are solved or judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Step = Literal["update", "micro-step"]
"""What a claim's "step" is."""


@dataclass(frozen=True)
class Product:
    """`result` = `constant` x product of `factors` (quantity -> 1 or -1)."""

    result: str
    factors: tuple[tuple[str, int], ...]
    constant: float = 1.0
    why: str = ""
    """Under which reading it is true, where it is not always."""

    @property
    def names(self) -> tuple[str, ...]:
        """All quantities, the result first."""
        return (self.result, *(name for name, _ in self.factors))


@dataclass(frozen=True)
class Function:
    """`result` = `forward`(`argument`), both strictly increasing together, or not."""

    result: str
    argument: str
    forward: Callable[[float], float]
    backward: Callable[[float], float]
    text: str
    """`e^{}`: the arithmetic as shown."""
    back_text: str
    falling: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Both quantities, the result first."""
        return (self.result, self.argument)


Relation = Product | Function


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf  # beyond, a float overflows


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _p(result: str, *factors: str, constant: float = 1.0, why: str = "") -> Product:
    """`-name` divides."""
    signed = tuple((f.removeprefix("-"), -1 if f.startswith("-") else 1) for f in factors)
    return Product(result, signed, constant, why)


HOUR = 1 / 3600
BITS = 1 / math.log(2)

COMMON: tuple[Relation, ...] = (
    # Amounts: what is consumed is what an update consumes, update after update.
    _p("tokens", "updates", "tokens_per_update"),
    _p("tokens", "steps", "tokens_per_step"),
    _p("tokens", "micro_steps", "tokens_per_micro_step"),
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
    _p("flops_per_second", "mfu", "peak_flops", "devices"),
    _p("total_flops", "flops_per_token", "tokens"),
    _p("total_flops", "flops_per_second", "time"),
    _p("weight_bytes", "parameters", "bytes_per_parameter"),
    # Money: prices are by the hour, times in seconds.
    _p("cost", "price_per_hour", "time", constant=HOUR),
    _p("cost", "price_per_device_hour", "device_time", constant=HOUR),
    _p("price_per_hour", "price_per_device_hour", "devices"),
    # Quality: perplexity is e to the loss in nats a token; bits a byte are nats / ln 2 / bytes.
    Function("perplexity", "loss", _exp, _log, "e^({})", "ln({})"),
    _p("bits_per_token", "loss", constant=BITS),
    _p("bits_per_byte", "bits_per_token", "-bytes_per_token"),
    _p("bytes_per_token", "scored_bytes", "-scored_tokens"),
    # Differences. A rate that grows by half takes a third less time.
    _p("ratio", "after", "-before"),
    Function("ratio", "change", lambda c: 1 + c, lambda r: r - 1, "1 + {}", "{} - 1"),
    Function("ratio", "reduction", lambda c: 1 - c, lambda r: 1 - r, "1 - {}", "1 - {}", True),
    _p("speedup", "time_before", "-time_after"),
    Function("speedup", "faster", lambda c: 1 + c, lambda r: r - 1, "1 + {}", "{} - 1"),
    _p("share", "part", "-whole"),
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
