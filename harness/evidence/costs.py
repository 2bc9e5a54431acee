"""Hours and dollars for a number of tokens, from a rate and a price, marked measured or projected.

What is unknown stays None and reads "n/a": a device without a peak has no projection, a device
without a price no dollars, a CPU neither.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.config import as_before
from harness.evidence import query
from harness.machine import devices, roofline
from harness.machine.hardware import peak_of, peaks
from harness.machine.prices import NO_PRICE, Price, price_of
from harness.records.schema import Record
from models.config import ModelConfig

BUDGETS = (1_000_000_000, 10_000_000_000, 100_000_000_000)
"""Tokens that the card's cost table is made for."""
EFFICIENCY = 0.5
"""The share of the roofline that a projection assumes where nothing else is said: a round figure
that nobody measured. It stands beside every number that it made."""

Basis = Literal["measured", "projected", "n/a"]


@dataclass(frozen=True)
class Rate:
    """Tokens/s on one device, and where it comes from."""

    device: str
    tokens_per_second: float | None
    basis: Basis
    origin: str
    """One line: the records, or the roofline with its efficiency."""
    records: tuple[str, ...] = ()
    """Keys of the records that a measured rate is the median of."""


@dataclass(frozen=True)
class Cost:
    """What a number of tokens takes."""

    tokens: int
    rate: Rate
    price: Price | None

    @property
    def hours(self) -> float | None:
        """tokens / rate / 3600; None without a rate."""
        rate = self.rate.tokens_per_second
        return self.tokens / rate / 3600.0 if rate else None

    @property
    def dollars(self) -> float | None:
        """hours x price of one device; None without either."""
        return self.hours * self.price.value if self.hours is not None and self.price else None

    @property
    def text(self) -> str:
        """`16.3 h, $5.55 (projected)`."""
        if self.hours is None:
            return NO_PRICE
        dollars = f"${self.dollars:,.2f}" if self.dollars is not None else f"$ {NO_PRICE}"
        return f"{self.hours:,.1f} h, {dollars} ({self.rate.basis})"


def projected(
    model: ModelConfig,
    device: str,
    micro_batch: int,
    seq_len: int,
    *,
    grad_accum: int = 1,
    efficiency: float = EFFICIENCY,
) -> Rate:
    """A rate from the roofline at a stated efficiency; none for an unknown device or a model that
    the roofline does not know."""
    if device not in peaks():
        return Rate(device, None, "n/a", f"no peak known for '{device}'")
    try:
        rate = roofline.tokens_per_second(
            model, peaks()[device][1], micro_batch, seq_len,
            efficiency=efficiency, grad_accum=grad_accum,
        )  # fmt: skip
    except ValueError as reason:
        return Rate(device, None, "n/a", str(reason))
    return Rate(device, rate, "projected", f"{efficiency:.0%} of the roofline, assumed")


def measured(records: Iterable[Record], model: ModelConfig, device: str) -> Rate | None:
    """The median steady rate of finished one-GPU timing runs of this model on this device, of the
    fastest arm where there are several.

    None where there is no such record: a training run's rate describes, and does not count, nor
    does a contaminated launch.
    """
    wanted = as_before(model, "model")
    by_arm: dict[str, list[tuple[str, float]]] = {}
    for record in records:
        if (
            query.counts(record)
            and query.timing_fault(record) is None
            and devices.of(record.device).rented
            and record.world_size == 1
            and as_before(record.config.get("model", {}), "model") == wanted
            and _device(record.hardware.gpu) == device
            and (timing := record.timing) is not None
            and (rate := timing.steady_tokens_per_second) is not None
        ):
            by_arm.setdefault(f"{record.recipe}/{record.arm}", []).append((record.key, rate))
    medians = {arm: statistics.median(rate for _, rate in runs) for arm, runs in by_arm.items()}
    if not medians:
        return None
    fastest = max(medians, key=lambda arm: medians[arm])
    keys = tuple(key for key, _ in by_arm[fastest])
    origin = f"median of {len(keys)} timing runs of {fastest}"
    return Rate(device, medians[fastest], "measured", origin, keys)


def _device(product: str | None) -> str | None:
    peak = peak_of(product)
    return peak.name if peak else None


def costs(rate: Rate, results: Path | None = None) -> list[Cost]:
    """The costs of the standard budgets at a rate, at the first known price of its device."""
    price = price_of(rate.device, results=results)
    return [Cost(tokens, rate, price) for tokens in BUDGETS]
