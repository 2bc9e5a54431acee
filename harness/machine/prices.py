"""What renting a device costs, from `facts/prices.toml`: value, provider, date and source together.

An unknown device has no price. May not import torch, and may not guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.machine.facts import read_toml
from harness.machine.hardware import peaks

FILE = "prices.toml"
MOST = 1e6
"""Dollars an hour: more is no price."""
UNIT = "USD/h"
NO_PRICE = "n/a"


@dataclass(frozen=True)
class Price:
    """One device for one hour."""

    device: str
    """A name of hardware.toml."""
    value: float
    """USD an hour."""
    provider: str
    kind: str
    """The provider's word for what is rented: community, secure ..."""
    read: date
    source: str

    @property
    def text(self) -> str:
        """`$2.69/h (RunPod community, read 2026-11-09)`."""
        return f"${self.value:.2f}/h ({self.provider} {self.kind}, read {self.read})"


def prices(results: Path | None = None) -> list[Price]:
    """All known prices, in the file's order.

    Raises RequestError naming the entry for a missing field, another unit, an unknown device or
    a value that is not a positive number.
    """
    entries = read_toml(FILE, results).get("price", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RequestError("prices.toml: price is no list of tables: each begins with [[price]]")
    return [_price(number, entry) for number, entry in enumerate(entries, 1)]


def _price(number: int, entry: dict[str, Any]) -> Price:
    where = f"prices.toml: price {number}"
    wanted = {"device", "value", "unit", "provider", "kind", "read", "source"}
    if set(entry) != wanted:
        odd = sorted(set(entry) ^ wanted)
        raise RequestError(f"{where}: missing or unknown field {', '.join(odd)}")
    for name in sorted(wanted - {"value", "read"}):
        if not isinstance(entry[name], str):
            raise RequestError(f"{where}: {name} {entry[name]!r} is not a text")
    if entry["unit"] != UNIT:
        raise RequestError(f"{where}: unit '{entry['unit']}', where only {UNIT} is read")
    value = entry["value"]
    if type(value) not in (int, float) or not 0 < value < MOST:
        raise RequestError(f"{where}: value {value!r} is not a positive number below {MOST:,.0f}")
    if entry["device"] not in peaks():
        raise RequestError(f"{where}: no device '{entry['device']}' in hardware.toml")
    if not isinstance(entry["read"], date):
        raise RequestError(f"{where}: read {entry['read']!r} is not a date")
    fields = {name: content for name, content in entry.items() if name != "unit"}
    return Price(**(fields | {"value": float(value)}))


def price_of(
    device: str, provider: str | None = None, kind: str | None = None, results: Path | None = None
) -> Price | None:
    """The first price of a device, of this provider and kind where named; None if unknown."""
    return next(
        (
            price
            for price in prices(results)
            if price.device == device
            and provider in (None, price.provider)
            and kind in (None, price.kind)
        ),
        None,
    )


def text(price: Price | None) -> str:
    """How a table shows a price: with its origin, or `n/a`."""
    return price.text if price else NO_PRICE
