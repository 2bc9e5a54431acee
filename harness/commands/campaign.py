"""`smol campaign`: spend a limited time on the most informative missing records, resumably."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.code import provenance
from harness.commands import places
from harness.commands.run import read_device, run
from harness.errors import CheckFailed, RequestError, RunFailed
from harness.evidence import precision
from harness.machine import hardware
from harness.machine.hardware import peak_of
from harness.machine.prices import price_of
from harness.plan import campaign as planning
from harness.plan.campaign import Device, Slot, Unit
from harness.recipe import load
from harness.records import store


def campaign(
    *, budget: str, device: str, dry_run: bool, results: Path | None, as_json: bool
) -> None:
    """Run, or with `dry_run` list, what fits the budget.

    Raises RequestError (a wrong budget or device), or RunFailed at the end where units failed.
    """
    seconds = planning.seconds_of(budget)
    folder = places.results_folder("proxy", results)
    planned_for = _device(device, dry_run, folder)
    if dry_run:
        found = _missing(planned_for, folder)
        _print(planned_for, planning.order(found, planned_for.price), found, seconds, as_json)
        return
    if as_json:
        raise RequestError("--json goes with --dry-run: a campaign leaves records")
    spend(planned_for, folder, seconds)


def _device(text: str, dry_run: bool, results: Path) -> Device:
    """This machine's, or for a dry run any of hardware.toml."""
    if text in ("auto", "cpu", "cuda"):
        kind = read_device(text)
        product = hardware.device_class(kind)
        peak = peak_of(product) if kind == "cuda" else None
        if kind == "cuda" and peak is None:
            raise RequestError(
                f"'{product}' is not in hardware.toml: without its peak nothing can be predicted"
            )
        price = price_of(peak.name, results=results) if peak else None
        return Device(
            peak.name if peak else product, kind, peak, price, hardware.cores(),
            native=lambda: precision.of_machine(kind),
        )  # fmt: skip
    peak = planning.device_named(text)
    if not dry_run:
        here = hardware.device_class("cuda") if hardware.has_gpu() else "no GPU"
        raise RequestError(f"--device {text} is for --dry-run; this machine has {here}")
    return Device(peak.name, "cuda", peak, price_of(peak.name, results=results))


def _missing(device: Device, results: Path) -> list[Unit]:
    entries, _ = load()
    records = store.read_all(results)
    return planning.units(entries.values(), records, device, provenance.source_digest())


def spend(device: Device, results: Path, budget: float) -> None:
    """Unit by unit; what was just measured enters the next choice."""
    started = time.monotonic()
    tried: set[tuple[str, str, int, tuple[str, ...]]] = set()
    failed: list[str] = []
    while True:
        left = budget - (time.monotonic() - started)
        missing = [unit for unit in _missing(device, results) if unit.identity not in tried]
        slots = planning.within(planning.order(missing, device.price), left)
        if not slots:
            break
        slot = slots[0]
        tried.add(slot.unit.identity)
        print(f"campaign: {left / 60:.0f} minutes left; {_line(slot)}", flush=True)
        begun = time.monotonic()
        try:
            _run(slot.unit, device, results)
        except (RunFailed, CheckFailed, RequestError) as error:
            failed.append(f"{slot.unit.recipe}: {error}")
            print(f"campaign: {error}", flush=True)
        took = (time.monotonic() - begun) / 60
        print(f"campaign: predicted {slot.seconds / 60:.1f} minutes, took {took:.1f}", flush=True)
    spent = (time.monotonic() - started) / 60
    print(
        f"campaign: {len(tried)} units in {spent:.0f} minutes; {len(missing)} are missing, none of "
        "which fits what is left; the same command goes on"
    )
    if failed:
        raise RunFailed(f"{len(failed)} of {len(tried)} units did not end well: {failed[0]}")


def _run(unit: Unit, device: Device, results: Path) -> None:
    run(
        unit.recipe, scale=unit.scale, device=device.kind, seeds=None, sets=[], stage=None,
        data=[], start=None, results=results, jobs=None, dry_run=False,
        fresh=True,  # of the unit's runs, those that other code made
        keep=False, only=lambda r: r.seed == unit.seed and r.arm in unit.arms,
    )  # fmt: skip


def _line(slot: Slot) -> str:
    unit = slot.unit
    return (
        f"{unit.recipe} at {unit.scale}, seed {unit.seed}, {', '.join(unit.arms)}: "
        f"{slot.seconds / 60:.1f} minutes predicted ({unit.why})"
    )


def _print(
    device: Device, slots: Sequence[Slot], found: Sequence[Unit], budget: float, as_json: bool
) -> None:
    chosen = {slot.unit.identity for slot in planning.within(slots, budget)}
    if as_json:
        rows = [_row(slot, slot.unit.identity in chosen) for slot in slots]
        price = device.price.text if device.price else None
        text = {"device": device.name, "price": price, "budget_seconds": budget, "units": rows}
        print(json.dumps(text, indent=1))
        return
    price = device.price.text if device.price else "n/a"
    print(f"campaign of {budget / 60:.0f} minutes on {device.name}, price {price}")
    print("in order of answers per predicted minute; + is within the budget")
    print(f"  {'minutes':>8}{'$':>7}{'in all':>8}{'value':>7}  what")
    for slot in slots:
        unit, mark = slot.unit, "+" if slot.unit.identity in chosen else " "
        dollars = f"{slot.dollars:.2f}" if slot.dollars is not None else "n/a"
        arms = ", ".join(unit.arms) if len(unit.arms) <= 4 else f"{len(unit.arms)} arms"
        print(
            f"{mark} {slot.seconds / 60:>8.1f}{dollars:>7}{slot.ends / 60:>8.0f}{unit.value:>7.3f}"
            f"  {unit.recipe} {unit.scale} seed {unit.seed}: {arms} "
            f"({len(unit.runs)} runs; {unit.why}; {unit.basis})"
        )
    within = planning.within(slots, budget)
    total = within[-1].ends / 60 if within else 0.0
    paid = f", ${sum(slot.dollars or 0.0 for slot in within):.2f}" if device.price else ""
    print(f"within the budget: {len(within)} of {len(slots)} units, {total:.0f} minutes{paid}")
    unknown = len(found) - len(slots)
    if unknown:
        print(f"{unknown} more have no predicted time: {_unknown(found)}")
    if not slots and not unknown:
        print("nothing is missing on this device")


def _unknown(found: Sequence[Unit]) -> str:
    bases = {unit.basis for unit in found if unit.seconds is None}
    return "; ".join(sorted(bases))


def _row(slot: Slot, chosen: bool) -> dict[str, Any]:
    unit = slot.unit
    return {
        "recipe": unit.recipe,
        "scale": unit.scale,
        "seed": unit.seed,
        "arms": list(unit.arms),
        "runs": len(unit.runs),
        "value": unit.value,
        "why": unit.why,
        "seconds": slot.seconds,
        "ends_seconds": slot.ends,
        "dollars": slot.dollars,
        "basis": unit.basis,
        "within_budget": chosen,
        "command": shlex.join(["smol", "run", unit.recipe, "--scale", unit.scale]),
    }
