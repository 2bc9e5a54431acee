"""`smol campaign`: spend a limited time on the most informative missing records, resumably."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands import campaign_for, complete, data_recipe, places
from harness.commands import run as runs
from harness.commands.options import JsonOption, ResultsOption
from harness.commands.planned import evidence, target, this_code
from harness.errors import CheckFailed, RequestError, RunFailed
from harness.launch import terminal
from harness.machine import devices
from harness.plan import campaign as planning
from harness.plan.campaign import Slot, Target, Unit
from harness.plan.runs import Run
from harness.recipe import load
from harness.records import store
from harness.referee.recipe import ScriptsEntry


@dataclass(frozen=True)
class Options:
    """Spend a limited time on the most informative runs.

    Runs that are missing from the recipes are done in the order of what they tell for their time.
    The same command goes on where the last one ended.
    """

    budget: Annotated[
        str,
        typer.Option(
            "--budget", help="The time to spend, such as 40m or 1h30m, or the dollars, such as 5$."
        ),
    ] = "40m"
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="The device to compute on: auto, cpu or cuda; with --dry-run also one that is "
            "not here, such as h100 or rtx-4090.",
        ),
    ] = "auto"
    asked: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="RECIPE", autocompletion=complete.recipes,
            help="Only this recipe's question: first the seeds that narrow its interval most a "
            "minute (on a card with a price, a dollar), of those that it declared.",
        ),
    ] = None  # fmt: skip
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale", autocompletion=complete.scales,
            help="With --for: the scale, a rung, or ladder for the multiplier of all rungs.",
        ),
    ] = None  # fmt: skip
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and start nothing.")] = (
        False
    )
    results: ResultsOption = None
    as_json: JsonOption = False


def campaign(options: Options) -> None:
    """Run, or with `dry_run` list, what fits the budget.

    Raises RequestError (a wrong budget or device), or RunFailed at the end where units failed.
    """
    if options.asked is None and options.scale is not None:
        raise RequestError("--scale goes with --for RECIPE: a campaign chooses among all scales")
    folder = places.results_folder(options.scale, options.results)
    planned_for = target(options.device, folder, None if options.dry_run else "--dry-run")
    if devices.of(planned_for.kind).rented and planned_for.peak is None:
        raise RequestError(
            f"'{planned_for.name}' is not in hardware.toml: without its peak nothing can be "
            "predicted"
        )
    seconds = planning.seconds_of(options.budget, planned_for.price)
    if options.as_json and not options.dry_run:
        raise RequestError("--json goes with --dry-run: a campaign leaves records")
    if options.asked is not None:
        campaign_for.answer(
            options.asked, options.scale, planned_for, folder,
            None if options.dry_run else seconds, as_json=options.as_json,
        )  # fmt: skip
        return
    if options.dry_run:
        found = _missing(planned_for, folder)
        slots = planning.order(found, planned_for.price)
        _print(planned_for, slots, found, seconds, options.as_json)
        return
    spend(planned_for, folder, seconds)


def _missing(device: Target, results: Path) -> list[Unit]:
    entries, _ = load()
    ours = [entry for entry in entries.values() if not isinstance(entry, ScriptsEntry)]
    records = store.read_all(results)
    here = device.kind if device.product else None  # a card of the table is asked nothing
    return planning.units(
        ours, records, device, this_code,
        lambda scale, device_class: evidence(records, scale, device_class, here),
        lambda text: print(f"campaign: {text}", file=sys.stderr),
    )  # fmt: skip


def spend(device: Target, results: Path, budget: float) -> None:
    """Unit by unit; what was just measured enters the next choice."""
    started = time.monotonic()
    tried: set[tuple[str, str, int, tuple[str, ...]]] = set()
    failed: list[str] = []
    if devices.of(device.kind).rented:
        _say_data(planning.within(planning.order(_missing(device, results), device.price), budget))
    while True:
        left = budget - (time.monotonic() - started)
        missing = [unit for unit in _missing(device, results) if unit.identity not in tried]
        slots = planning.within(planning.order(missing, device.price), left)
        if not slots:
            break
        slot = slots[0]
        tried.add(slot.unit.identity)
        terminal.say(f"campaign: {left / 60:.0f} minutes left; {_line(slot)}")
        begun = time.monotonic()
        try:
            _run(slot.unit, device, results)
        except (RunFailed, CheckFailed, RequestError) as error:
            failed.append(f"{slot.unit.recipe}: {error}")
            terminal.say(f"campaign: {error}")
        took = (time.monotonic() - begun) / 60
        terminal.say(f"campaign: predicted {slot.seconds / 60:.1f} minutes, took {took:.1f}")
    spent = (time.monotonic() - started) / 60
    terminal.say(
        f"campaign: {len(tried)} units in {spent:.0f} minutes; {len(missing)} are missing, none of "
        "which fits what is left; the same command goes on"
    )
    if failed:
        raise RunFailed(f"{len(failed)} of {len(tried)} units did not end well: {failed[0]}")


def _run(unit: Unit, device: Target, results: Path) -> None:
    fresh = True  # of the unit's runs, those that are outdated too
    runs.run(
        runs.Options(unit.recipe, unit.scale, device.kind, results=results, fresh=fresh),
        only=lambda r: r.seed == unit.seed and r.arm in unit.arms,
    )


def _line(slot: Slot) -> str:
    unit = slot.unit
    return (
        f"{unit.recipe} at {unit.scale}, seed {unit.seed}, {', '.join(unit.arms)}: "
        f"{slot.seconds / 60:.1f} minutes predicted ({unit.why})"
    )


def _print(
    device: Target, slots: Sequence[Slot], found: Sequence[Unit], budget: float, as_json: bool
) -> None:
    chosen = {slot.unit.identity for slot in planning.within(slots, budget)}
    if as_json:
        rows = [_row(slot, slot.unit.identity in chosen) for slot in slots]
        price = device.price.text if device.price else None
        text = {"device": device.name, "price": price, "budget_seconds": budget, "units": rows}
        print(json.dumps(text, indent=1))
        return
    price = device.price.text if device.price else "n/a"
    terminal.say(f"campaign of {budget / 60:.0f} minutes on {device.name}, price {price}")
    terminal.say("in order of answers per predicted minute; + is within the budget")
    for slot in slots:
        terminal.say(_described(slot), "+ " if slot.unit.identity in chosen else "  ", "    ")
    within = planning.within(slots, budget)
    total = within[-1].ends / 60 if within else 0.0
    paid = f", ${sum(slot.dollars or 0.0 for slot in within):.2f}" if device.price else ""
    terminal.say(
        f"within the budget: {len(within)} of {len(slots)} units, {total:.0f} minutes{paid}"
    )
    unknown = len(found) - len(slots)
    if unknown:
        terminal.say(f"{unknown} more have no predicted time: {_unknown(found)}")
    if not slots and not unknown:
        terminal.say("nothing is missing on this device")
    if devices.of(device.kind).rented:
        _say_data(within)


def _say_data(slots: Sequence[Slot]) -> None:
    """In a line, which data is to be prepared before an hour of the card is paid for."""
    runs_of: dict[tuple[str, str], list[Run]] = {}
    for slot in slots:
        runs_of.setdefault((slot.unit.recipe, slot.unit.scale), []).extend(slot.unit.runs)
    for line in data_recipe.lacking(runs_of):
        terminal.say(line)


def _described(slot: Slot) -> str:
    unit = slot.unit
    arms = ", ".join(unit.arms) if len(unit.arms) <= 4 else f"{len(unit.arms)} arms"
    dollars = f", ${slot.dollars:.2f}" if slot.dollars is not None else ""
    return (
        f"{slot.seconds / 60:.1f} minutes{dollars}, in all {slot.ends / 60:.0f}; value "
        f"{unit.value:.3f}: {unit.recipe} {unit.scale} seed {unit.seed}: {arms} "
        f"({len(unit.runs)} runs; {unit.why}; {unit.basis})"
    )


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
