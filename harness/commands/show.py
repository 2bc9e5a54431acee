"""`smol list` and `smol show`: recipes, and the resolved plan of one. Starts nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from harness.commands import places
from harness.commands.run import (
    default_jobs,
    device_profile,
    evidence,
    read_device,
    read_scale,
)
from harness.config import parse_overrides
from harness.evidence import precision
from harness.machine import hardware
from harness.plan import runs as planning
from harness.plan.forecast import Forecast
from harness.plan.profiles import memory_bytes
from harness.plan.runs import Plan
from harness.recipe import find, load
from harness.records import store
from harness.records.schema import Record

BYTES_PER_PARAMETER = 16
"""fp32 weight, gradient and two optimizer moments: what training holds beside activations."""


def list_recipes(*, as_json: bool) -> None:
    """Recipes, one line each; files that could not be loaded are named on stderr."""
    entries, broken = load()
    if as_json:
        rows = [{"name": e.name, "summary": e.summary, "seeds": e.seeds} for e in entries.values()]
        print(json.dumps({"recipes": rows, "broken": [b.__dict__ for b in broken]}, indent=1))
    else:
        width = max((len(name) for name in entries), default=0)
        for entry in entries.values():
            print(f"{entry.name:{width}}  {entry.summary} [{', '.join(entry.seeds)}]")
    for file in broken:
        print(f"smol: recipes/{file.file} could not be loaded: {file.error}", file=sys.stderr)


def show(
    recipe: str, *, scale: str, device: str, seeds: int | None, sets: list[str], as_json: bool
) -> None:
    """Print the resolved plan. Raises RequestError."""
    device = read_device(device)
    records = store.read_all(places.results_folder(scale, None))
    plan = planning.make(
        find(recipe),
        read_scale(scale),
        device,
        seeds=seeds,
        overrides=parse_overrides(sets),
        tokenizer_digest=lambda _: "unprepared",
        device_class=hardware.device_class(device),
        profile=device_profile(device),
        evidence=evidence(records, read_scale(scale), device),
    )
    rows = planning.describe(plan)
    if as_json:
        print(json.dumps({"recipe": recipe, "scale": scale, "device": device, "arms": rows}))
        return
    _print(plan, rows, records)


def _time(plan: Plan, records: Sequence[Record]) -> str:
    forecast = Forecast.of_this_machine(plan.device, records)
    at_once = 1 if plan.recipe.timing else default_jobs(plan.device, plan.runs)
    seconds, basis = forecast.together(plan.runs, at_once)
    if seconds is None:
        return f"time: {basis}"
    return f"time: about {seconds / 60:,.0f} minutes, {at_once} at a time, with rates {basis}"


def _print(plan: Plan, rows: list[dict[str, Any]], records: Sequence[Record]) -> None:
    base = plan.arms[0].config
    primary = plan.entry.primary
    pairs = ", ".join(f"{b} against {a}" for a, b in primary.pairs)
    print(f"{plan.entry.name} at {plan.scale} on {hardware.device_class(plan.device)}")
    print(f"  {plan.entry.summary}")
    print(f"  question: {primary.metric} at {primary.at}: {pairs or 'of one arm, none compared'}")
    print(f"  seeds: {plan.seeds} (frozen: {plan.entry.seeds[plan.scale]})")
    print(f"  stages: {', '.join(dict.fromkeys(run.stage for run in plan.runs))}")
    print(
        f"  update: {base.batch.micro_batch} x {base.batch.grad_accum} x {base.data.seq_len} = "
        f"{base.tokens_per_update:,} tokens, "
        + (f"cut for the {plan.profile} device profile" if plan.profile else "the recipe's split")
    )
    _print_memory(plan)
    for path, choice in plan.choices.items():
        print(f"  {path}=auto: {choice}")
    if slow := precision.emulated(plan.configs, precision.of_machine(plan.device)):
        print(f"  note: {slow}")
    for row in rows:
        note = f" ({row['note']})" if row["note"] else ""
        print(f"arm {row['arm']}{note}")
        changes = ", ".join(f"{path.removeprefix('model.')}={v}" for path, v in row["diff"].items())
        print(f"  differs from the base in: {changes or 'nothing'}")
        state = row["total_parameters"] * BYTES_PER_PARAMETER / 1e9
        print(
            f"  parameters: {row['total_parameters']:,} total, {row['active_parameters']:,} "
            f"active; {row['flops_per_token'] / 1e6:,.1f} MFLOP a token; "
            f"{state:.2f} GB of weights, gradients and optimizer state"
        )
        for step in row["stages"]:
            changes = ", ".join(f"{path}={_short(v)}" for path, v in step["diff"].items())
            start = f"from {step['after']}" if step["after"] else "from an initialisation"
            print(f"  stage {step['stage']}, {start}: {changes or 'as the arm'}")
        for end in row["endpoints"]:
            print(
                f"  horizon {end['horizon']}: {end['update']:,} updates, {end['tokens']:,} tokens, "
                f"{end['flops']:.3g} FLOPs"
            )
    runs = plan.runs
    print(_time(plan, records))
    print("dollars: n/a on a CPU" if plan.device == "cpu" else "dollars: no rate was measured")
    print(f"{len(runs)} runs, {_total_flops(plan):.3g} FLOPs in all; nothing was started")


def _short(value: Any) -> str:
    """Sources by their names; the rest as it is."""
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return "+".join(str(one.get("name")) for one in value)
    return str(value)


def _print_memory(plan: Plan) -> None:
    need = max(memory_bytes(a.config, a.config.batch.micro_batch) for a in plan.arms) / 1e9
    print(f"  memory: {need:.1f} GB at most in one run, estimated as eager torch would need it")


def _total_flops(plan: Plan) -> float:
    from harness.launch.display import work

    return sum(work(run) for run in plan.runs)
