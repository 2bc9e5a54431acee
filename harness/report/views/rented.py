"""The table `cost`: hours and dollars for round numbers of tokens on rented cards.

From a measured rate where a timing run of SmolLM2-135M on that card is among the records, otherwise
from the roofline at a stated efficiency, and then marked "projected". What is unknown reads "n/a".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness import presets
from harness.evidence.costs import BUDGETS, EFFICIENCY, Cost, Rate, measured, projected
from harness.machine.prices import NO_PRICE, Price
from harness.plan import profiles
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.columns import Found, Measure, tabulate
from harness.report.table import Cell, Table, plain

NAME = "cost"
DEVICES = ("rtx-4090", "h100-sxm", "h100-pcie")


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
        NAME,
        "What training SmolLM2-135M on so many tokens would take on one card, at the batch "
        "of the `full` scale.",
        "device@tokens",
        MEASURES,
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
    def values(row: _Plan) -> Found:
        rate = row.cost.rate
        how = f"{rate.basis}: {rate.origin}; resolved configuration of the full scale"
        return [((value(row) or NO_PRICE, how), row.paths)]

    def shown(values: Sequence[tuple[str, str]], files: tuple[str, ...], what: str) -> Cell:
        return plain(values[0][0], files, what, values[0][1])

    return Measure(name, what, values, shown, unit, left)


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def _price(row: _Plan) -> str:
    return row.cost.price.text if row.cost.price else NO_PRICE


MEASURES = (
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
