"""`--scale ladder`: every rung, the smallest first; each forecast before it is run, and scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands import places
from harness.commands.planned import default_jobs, device_profile, evidence, read_overrides, target
from harness.errors import CheckFailed, RequestError
from harness.evidence import rungs
from harness.evidence.query import Recorded, on
from harness.files import write_atomically
from harness.launch import terminal
from harness.machine import devices
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


def scales(entry: Entry) -> list[Scale]:
    """The rungs that a recipe has. Raises RequestError for one without a ladder."""
    found = [scale for scale in RUNGS if scale in entry.seeds]
    if len(found) < 2 or not entry.primary.pairs:
        raise RequestError(f"recipe '{entry.name}' has no ladder: it has {', '.join(entry.seeds)}")
    return found


def climb(options: Options, run: Callable[[Options], None]) -> None:
    """Run a recipe's rungs with `run`, the smallest first. Before a rung is run its losses are
    forecast from those below, and afterwards the law is fitted again and its page written.

    What is finished is skipped, and an interrupted ladder goes on. Raises as `run` does, and
    RequestError for options that a ladder does not take.
    """
    entry = find(options.recipe)
    mine = scales(entry)
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
            write_page(entry, options.device, results)


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
    product = devices.chosen(device).product()
    records = store.read_all(results)
    file = ledger.path_of(results, entry.name)
    known = ledger.read(file)
    begun = any(r.recipe == entry.name and r.scale == scale for r in on(records, product))
    if begun or any((one["rung"], one["device"]) == (scale, product) for one in known):
        return None
    below = [
        one for one in rungs.measured(records, entry.name, product)
        if RUNGS.index(_rung(one.scale)) < RUNGS.index(scale)
    ]  # fmt: skip
    plan = _plan(entry, scale, device, results)
    reference = next(arm for arm in plan.arms if arm.name == entry.primary.pairs[0][0])
    ends = [planning.endpoint(h, reference, plan.arms) for h in plan.recipe.horizons]
    tokens = sorted(end.tokens for end in ends)
    size = planning.describe(plan)[plan.arms.index(reference)]["active_parameters"]
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


def _rung(name: str) -> Scale:
    return next(scale for scale in RUNGS if scale == name)


def write_page(entry: Entry, device: str, results: Path) -> None:
    """The ladder's page beside its card, and what it says on the terminal."""
    from harness.report import ladder as page

    product = devices.chosen(device).product()
    found = rungs.measured(store.read_all(results), entry.name, product)
    if not found:
        return
    lines = ledger.read(ledger.path_of(results, entry.name))
    said = rungs.say(found)
    file = results / f"ladder-{entry.name}.md"
    write_atomically(file, page.text(entry.name, found, lines, said))
    terminal.say(f"{entry.name}: {said.verdict} ({file})")


def show(options: ShowOptions) -> None:
    """What a ladder would run, what it could detect, and how long it takes here and elsewhere."""
    entry = find(options.recipe)
    if read_overrides(options.config, options.sets) or options.seeds:
        raise RequestError("--scale ladder takes no --set, --config or --seeds")
    if options.as_json:
        raise RequestError("--scale ladder has no --json yet: ask rung by rung")
    results = places.results_folder(LADDER, options.results)
    terminal.say(f"{entry.name} at {LADDER}: {entry.summary}")
    pair = entry.primary.pairs[0] if entry.primary.pairs else ("", "")
    shapes = []
    for scale in scales(entry):
        plan = _plan(entry, scale, options.device, results)
        row = next(r for r in planning.describe(plan) if r["arm"] == pair[0])
        tokens = sorted(end["tokens"] for end in row["endpoints"])
        shapes.append((float(row["active_parameters"]), tuple(map(float, tokens)), plan.seeds))
        ratios = ", ".join(f"{t / shapes[-1][0]:.1f}" for t in tokens)
        terminal.say(
            f"{scale}: {row['active_parameters']:,} parameters, {ratios} tokens each, "
            f"{plan.seeds} seeds", "  ",
        )  # fmt: skip
    for device in (options.device, *ELSEWHERE):
        terminal.say(_time(entry, device, results, pair))
    here = devices.chosen(options.device).product() if options.device in ("auto", "cpu") else ""
    known = rungs.measured(store.read_all(results), entry.name, here)
    terminal.say(rungs.detects(shapes, known))


def _time(entry: Entry, device: str, results: Path, pair: Sequence[str]) -> str:
    """Minutes of a whole ladder on a device, and its dollars."""
    where = target(device, results)
    mine = [record for record in store.read_all(results) if where.ran(record)]
    forecast = Forecast(where.name, where.peak, mine, guess=True)
    seconds, basis = 0.0, ""
    for scale in scales(entry):
        runs = [r for r in _plan(entry, scale, device, results).runs if r.arm in pair]
        took, basis = forecast.together(runs, default_jobs(where.kind, runs))
        if took is None:
            raise CheckFailed(f"time on {where.name}: {basis}")
        seconds += took
    paid = f", about {seconds / 3600 * where.price.value:,.2f} dollars" if where.price else ""
    return f"time on {where.name}: about {seconds / 60:,.0f} minutes, with rates {basis}{paid}"
