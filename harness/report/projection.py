"""The view `cost`: hours and dollars for round numbers of tokens on rented cards.

From a measured rate where a timing run of SmolLM2-135M on that card is among the records, otherwise
from the roofline at a stated efficiency, and then marked "projected". What is unknown reads "n/a".
May not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness import presets
from harness.evidence.costs import BUDGETS, EFFICIENCY, Cost, Rate, measured, projected
from harness.machine.prices import NO_PRICE, Price
from harness.plan import profiles
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.tables import Cell, Column, Row, Table

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


def cost(records: Sequence[Record], prices: Sequence[Price]) -> Table:
    """A row a device and number of tokens; the price is the device's first."""
    per_update = presets.run("full").tokens_per_update
    rates = {device: rate_of(records, device) for device in DEVICES}
    rented = {device: next((p for p in prices if p.device == device), None) for device in DEVICES}
    keys = {record.key: path_of(record) for record in records}
    rows = []
    for device, rate in rates.items():
        paths = tuple(keys[key] for key in rate.records)
        rows += [
            Row(
                f"{device}@{tokens // 10**9}B",
                _cells(Cost(tokens, rate, rented[device]), per_update, paths),
            )
            for tokens in BUDGETS
        ]
    return Table(
        name=NAME,
        caption="What training SmolLM2-135M on so many tokens would take on one card, at the batch "
        "of the `full` scale.",
        corner="device@tokens",
        columns=(
            Column("updates"),
            Column("rate", "tokens/s"),
            Column("basis", left=True),
            Column("hours", "h"),
            Column("dollars", "USD"),
            Column("price", left=True),
        ),
        rows=tuple(rows),
        notes=(
            f"projected: {EFFICIENCY:.0%} of the roofline (for each operation the larger of "
            "compute and memory time at the card's published peaks). The share is assumed; nobody "
            "measured it. No start-up, validation or checkpoint is in it.",
            f"updates: of {per_update:,} tokens each, whatever micro-steps they are made of.",
            *(f"{p.device}: {p.text}, {p.source}" for p in rented.values() if p),
        ),
        command="smol card",
    )


def _cells(one: Cost, per_update: int, paths: tuple[str, ...]) -> tuple[Cell, ...]:
    rate, price = one.rate, one.price
    how = f"{rate.basis}: {rate.origin}; resolved configuration of the full scale"
    at = price.text if price else NO_PRICE
    values = {
        "updates of the `full` batch": f"{one.tokens / per_update:,.0f}",
        "tokens a second": NO_PRICE
        if rate.tokens_per_second is None
        else f"{rate.tokens_per_second:,.0f}",
        "where the rate comes from": rate.basis,
        "tokens / rate": NO_PRICE if one.hours is None else f"{one.hours:,.1f}",
        f"hours x price of one device, {at}": NO_PRICE
        if one.dollars is None
        else f"{one.dollars:,.2f}",
        "price of one device for one hour": at,
    }
    return tuple(Cell(text, paths, what, how, len(paths)) for what, text in values.items())
