"""`--scale ladder`: every rung, the smallest first; each forecast before it is run, and scored."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands import places
from harness.commands.planned import default_jobs, device_profile, evidence, read_overrides, target
from harness.errors import CheckFailed, RequestError
from harness.evidence import rungs
from harness.evidence.ladders import Ladder, ladders
from harness.evidence.query import Recorded, on
from harness.launch import terminal
from harness.machine import devices
from harness.machine.devices import Device
from harness.plan import profiles
from harness.plan import runs as planning
from harness.plan.forecast import Forecast
from harness.plan.resolved import resolve
from harness.plan.runs import Plan, Where
from harness.recipe import LADDER, RUNGS, Entry, Scale, find
from harness.records import ledger, store

if TYPE_CHECKING:
    from harness.commands.request import Options
    from harness.commands.show import Options as ShowOptions

ELSEWHERE = ("rtx-4090", "h100-sxm")
"""Cards of which `show` says how long a ladder takes there."""


def scales(entry: Entry, device: Device) -> list[Scale]:
    """The rungs of a device's ladder that a recipe has; of any ladder, where it has none of those.

    Raises RequestError for a recipe without a ladder.
    """
    for ladder in (device.ladder, RUNGS):
        found = [scale for scale in ladder if scale in entry.seeds]
        if len(found) >= 2 and entry.primary.pairs:
            return found
    raise RequestError(f"recipe '{entry.name}' has no ladder: it has {', '.join(entry.seeds)}")


def climb(options: Options, run: Callable[[Options], None]) -> None:
    """Run a recipe's rungs with `run`, the smallest first. Before a rung is run its losses are
    forecast from those below, and afterwards the law is fitted again.

    What is finished is skipped, and an interrupted ladder goes on. Raises as `run` does, and
    RequestError for options that a ladder does not take.
    """
    entry = find(options.recipe)
    mine = scales(entry, devices.chosen(options.device))
    if options.sets or options.config or options.arms or options.stage or options.seeds:
        raise RequestError(
            "--scale ladder takes no --set, --config, --arm, --stage or --seeds: its rungs and "
            f"seeds are frozen; give one rung for that, as --scale {mine[0]}"
        )
    results = places.results_folder(LADDER, options.results)
    pair = entry.primary.pairs[0]
    for scale in mine:
        if not options.dry_run:
            foretell(entry, scale, options.device, results)
        run(dataclasses.replace(options, scale=scale, arms=list(pair)))
        if not options.dry_run:
            one = told(entry, options.device, results)
            if one is not None:
                terminal.say(f"{entry.name}: {one.said.verdict} ({results / _page(one)})")


def _plan(entry: Entry, scale: Scale, device: str, results: Path) -> Plan:
    """A rung's plan on a device, this machine's or a card of the table."""
    where = target(device, results)
    here = where.kind if where.product else None
    memory = where.peak.memory_bytes if where.peak else None
    records = store.read_all(results)
    name = where.product or where.name
    resolved = resolve(
        entry, scale, {}, device_profile(here) if here else profiles.of(memory),
        evidence(records, scale, name, here),
    )  # fmt: skip
    data = Recorded(on(records, name))
    return planning.make(resolved, Where(where.kind, name), data.tokenizer_digest)


def foretell(entry: Entry, scale: Scale, device: str, results: Path) -> dict[str, Any] | None:
    """Write what is expected of a rung into the ledger, unless it has been, or the rung has been
    run, or those below carry no law. Returns the line that was written."""
    on_it = devices.chosen(device)
    product = on_it.product()
    records = store.read_all(results)
    file = ledger.path_of(results, entry.name)
    known = ledger.read(file)
    begun = any(r.recipe == entry.name and r.scale == scale for r in on(records, product))
    if begun or any((one["rung"], one["device"]) == (scale, product) for one in known):
        return None
    below = [
        one for one in rungs.measured(records, entry.name, product, scales(entry, on_it))
        if RUNGS.index(_rung(one.scale)) < RUNGS.index(scale)
    ]  # fmt: skip
    plan = _plan(entry, scale, device, results)
    size, tokens = shape(plan)
    cells = rungs.forecast(below, float(size), tokens, plan.seeds)
    if cells is None:
        return None
    line = ledger.append(
        file,
        {
            "recipe": entry.name, "rung": scale, "device": product,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "pair": list(entry.primary.pairs[0]), "seeds": plan.seeds, "size": size,
            "tokens": tokens, "from": sorted({path for one in below for path in one.paths}),
            **cells,
        },
    )  # fmt: skip
    terminal.say(f"{scale}: forecast from {len(below)} rungs below, {line['digest']} in {file}")
    return line


def shape(plan: Plan) -> tuple[int, list[int]]:
    """A rung's size, the reference's parameters, and its budgets in tokens, ascending."""
    reference = next(arm for arm in plan.arms if arm.name == plan.entry.primary.pairs[0][0])
    ends = [planning.endpoint(h, reference, plan.arms) for h in plan.recipe.horizons]
    size = planning.describe(plan)[plan.arms.index(reference)]["active_parameters"]
    return size, sorted(end.tokens for end in ends)


def _rung(name: str) -> Scale:
    return next(scale for scale in RUNGS if scale == name)


def _page(one: Ladder) -> str:
    from harness.report import ladder as report
    from harness.report.pages import FOLDER

    return f"{FOLDER}/{report.page_name(one)}.md"


def told(entry: Entry, device: str, results: Path) -> Ladder | None:
    """A recipe's ladder on a device, as far as it was climbed; None where no rung is finished."""
    product = devices.chosen(device).product()
    lines = ledger.forecasts(ledger.path_of(results, entry.name))
    mine = [r for r in store.read_all(results) if r.scale in RUNGS]
    found = ladders(mine, {entry.name: lines})
    return next((o for o in found if (o.recipe, o.device_class) == (entry.name, product)), None)


def show(options: ShowOptions) -> None:
    """What a ladder would run, what it could detect, and how long it takes here and elsewhere."""
    entry = find(options.recipe)
    if read_overrides(options.config, options.sets) or options.seeds:
        raise RequestError("--scale ladder takes no --set, --config or --seeds")
    results = places.results_folder(LADDER, options.results)
    pair = entry.primary.pairs[0] if entry.primary.pairs else ("", "")
    where = target(options.device, results)
    shapes, rows = [], []
    for scale in scales(entry, devices.of(where.kind)):
        plan = _plan(entry, scale, options.device, results)
        row = next(r for r in planning.describe(plan) if r["arm"] == pair[0])
        tokens = sorted(end["tokens"] for end in row["endpoints"])
        shapes.append((float(row["active_parameters"]), tuple(map(float, tokens)), plan.seeds))
        rows.append(
            {"rung": scale, "parameters": row["active_parameters"], "tokens": tokens,
             "seeds": plan.seeds}
        )  # fmt: skip
    cards = [name for name in ELSEWHERE if name != where.name]
    times = [_time(entry, device, results, pair) for device in (options.device, *cards)]
    known = rungs.measured(
        store.read_all(results), entry.name, where.product or "",
        scales(entry, devices.of(where.kind)),
    )  # fmt: skip
    detects = rungs.detects(shapes, known)
    if options.as_json:
        shown = {
            "recipe": entry.name, "scale": LADDER, "pair": pair, "rungs": rows, "times": times,
            "detects": detects,
        }  # fmt: skip
        print(json.dumps(shown, indent=2))
        return
    terminal.say(f"{entry.name} at {LADDER}: {entry.summary}")
    for one in rows:
        ratios = ", ".join(f"{t / one['parameters']:.1f}" for t in one["tokens"])
        terminal.say(
            f"{one['rung']}: {one['parameters']:,} parameters, {ratios} tokens each, "
            f"{one['seeds']} seeds", "  ",
        )  # fmt: skip
    for one in times:
        minutes = (
            f"about {one['minutes']:,.0f} minutes for {one['rungs'][0]} to {one['rungs'][-1]}, "
            f"with rates {one['rates']}"
        )
        paid = one["dollars"]
        terminal.say(
            f"time on {one['device']}: {minutes}"
            + ("" if paid is None else f", about {paid:,.2f} dollars")
        )
    terminal.say(detects)


def _time(entry: Entry, device: str, results: Path, pair: Sequence[str]) -> dict[str, Any]:
    """Minutes of a whole ladder on a device, and its dollars."""
    where = target(device, results)
    mine = [record for record in store.read_all(results) if where.ran(record)]
    forecast = Forecast(where.name, where.peak, mine, guess=True)
    seconds, basis, climbed = 0.0, "", scales(entry, devices.of(where.kind))
    for scale in climbed:
        runs = [r for r in _plan(entry, scale, device, results).runs if r.arm in pair]
        took, basis = forecast.together(runs, default_jobs(where.kind, runs))
        if took is None:
            raise CheckFailed(f"time on {where.name}: {basis}")
        seconds += took
    dollars = seconds / 3600 * where.price.value if where.price else None
    return {
        "device": where.name, "rungs": climbed, "minutes": seconds / 60, "rates": basis,
        "dollars": dollars,
    }  # fmt: skip
