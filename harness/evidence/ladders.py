"""Every ladder that records hold: its rungs, the searches behind its rates, its verdict. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.evidence import rungs, transfers
from harness.evidence.rungs import Climbed, Said
from harness.evidence.transfers import Carried
from harness.machine import devices
from harness.recipe import RUNGS
from harness.records.ledger import Foretold
from harness.records.schema import Record


@dataclass(frozen=True)
class Ladder:
    """One recipe's rungs on one class of device."""

    recipe: str
    device: str
    """The kind of device."""
    device_class: str
    found: Sequence[Climbed]
    """The rungs that both arms have reached every budget of, the smallest first."""
    carried: Sequence[Carried]
    forecasts: Sequence[Foretold]
    """Lines of the recipe's ledger, the oldest first."""
    said: Said
    name: str
    """How the views of it begin."""


def ladders(records: Sequence[Record], ledgers: Mapping[str, Sequence[Foretold]]) -> list[Ladder]:
    """Of every recipe that compared two arms at rungs, on every class of device, by recipe. A
    device's own rungs are one family; runs at others' are a ladder where it has none of its own.

    `ledgers` are the lines of a recipe's forecasts.
    """
    by_place: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if record.scale in RUNGS and record.question.pairs:
            place = record.recipe, record.device, record.hardware.device_class
            by_place.setdefault(place, []).append(record)
    found: list[Ladder] = []
    for (recipe, device, product), mine in sorted(by_place.items()):
        own = devices.of(device).ladder
        family = own if any(r.scale in own for r in mine) else RUNGS
        climbed = rungs.measured(mine, recipe, product, family)
        if not climbed:
            continue
        carried = transfers.carried(records, climbed, product, family)
        unfair = transfers.unfair(carried, mine[0].question.tuned_by, family)
        lines = [line for line in ledgers.get(recipe, ()) if line.device == product]
        said = rungs.say(climbed, unfair=unfair)
        name = f"{recipe}.ladder.{device}"
        if taken := sum(one.recipe == recipe and one.device == device for one in found):
            name += f"-{taken + 1}"  # another class of the same kind of device
        found.append(Ladder(recipe, device, product, climbed, carried, lines, said, name))
    return found
