"""`smol show`: the resolved plan of a recipe. Starts nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from harness.commands import ladder, places, run_scripts
from harness.commands.options import (
    ConfigOption,
    JsonOption,
    RecipeName,
    ResultsOption,
    ScaleOption,
    SeedsOption,
    SetOption,
    ShowDeviceOption,
)
from harness.commands.planned import (
    default_jobs,
    device_profile,
    evidence,
    read_overrides,
    read_scale,
    target,
    this_code,
)
from harness.config import DataConfig, RunConfig
from harness.data import prepare
from harness.errors import RequestError
from harness.evidence import precision
from harness.evidence.query import Recorded, on
from harness.launch import terminal
from harness.launch.disk import SMALL_BYTES
from harness.machine import devices
from harness.plan import needs, profiles
from harness.plan import runs as planning
from harness.plan.backlog import sort
from harness.plan.campaign import Target
from harness.plan.forecast import Forecast
from harness.plan.resolved import Resolved, resolve
from harness.plan.runs import Plan, Run, Where
from harness.recipe import LADDER, find
from harness.records import store
from harness.records.schema import Record
from harness.referee.recipe import ScriptsEntry
from models.config import flops_unknown

BYTES_PER_PARAMETER = 16
"""fp32 weight, gradient and two optimizer moments: what training holds beside activations."""


@dataclass(frozen=True)
class Options:
    """Print what a recipe would run, and start nothing.

    Arms and how they differ, sizes, tokens, FLOPs, memory, and an estimate of the time.
    """

    recipe: RecipeName
    scale: ScaleOption = "smoke"
    device: ShowDeviceOption = "auto"
    seeds: SeedsOption = None
    sets: SetOption = field(default_factory=list)
    config: ConfigOption = None
    results: ResultsOption = None
    as_json: JsonOption = False


def show(options: Options) -> None:
    """Print the resolved plan, and what of it the records say is there. Raises RequestError."""
    if options.scale == LADDER:
        ladder.show(options)
        return
    scale = read_scale(options.scale)
    entry = find(options.recipe)
    if isinstance(entry, ScriptsEntry):
        run_scripts.show(entry, options)
        return
    folder = places.results_folder(scale, options.results)
    where = target(options.device, folder)
    records = store.read_all(folder)
    here = where.kind if where.product else None  # a card of the table is asked nothing
    memory = where.peak.memory_bytes if where.peak else None
    resolved = resolve(
        entry, scale, read_overrides(options.config, options.sets),
        device_profile(here) if here else profiles.of(memory),
        evidence(records, scale, where.product or where.name, here),
    )  # fmt: skip
    say(resolved, where, records, options.seeds, as_json=options.as_json)


def say(
    resolved: Resolved,
    where: Target,
    records: Sequence[Record],
    seeds: int | None,
    *,
    processes: int = 1,
    only: Callable[[Run], bool] | None = None,
    as_json: bool,
) -> None:
    """Print the plan that a resolved recipe has on a device, or `only` some runs of it, and what
    of them is there."""
    data = Recorded(on(records, where.product or where.name))
    on_device = Where(where.kind, where.product or where.name, processes)
    plan = planning.make(resolved, on_device, data.tokenizer_digest, seeds=seeds)
    if only is not None:
        some = [run for run in plan.runs if only(run)]
        arms = tuple(arm for arm in plan.arms if arm.name in {run.arm for run in some})
        plan = replace(plan, runs=some, resolved=replace(plan.resolved, arms=arms))
    backlog = sort(plan, records, this_code(data.manifest_digest))
    rows = planning.describe(plan)
    if as_json:
        names = {"recipe": plan.entry.name, "scale": plan.scale, "device": plan.device}
        runs = {
            "finished": [run.name for run in backlog.finished],
            "outdated": {run.name: why for run, why in backlog.outdated},
            "pending": [run.name for run in backlog.pending],
            "unasked": [run.name for run in backlog.unasked],
        }
        print(json.dumps({**names, "arms": rows, "runs": runs}))
        return
    _print(plan, rows, records, where)
    terminal.say(
        f"{len(backlog.finished)} of these runs are finished, {len(backlog.outdated)} outdated and "
        f"{len(backlog.pending)} missing"
        + (f"; {len(backlog.unasked)} are of seeds not asked for now" if backlog.unasked else "")
    )


def _at_once(plan: Plan) -> int:
    return 1 if plan.recipe.timing else default_jobs(plan.device, plan.runs)


def _time(plan: Plan, records: Sequence[Record], where: Target) -> tuple[str, str]:
    """Minutes, and dollars where the device has a price."""
    mine = [record for record in records if where.ran(record)]
    forecast = Forecast(where.name, where.peak, mine, guess=True)
    seconds, basis = forecast.together(plan.runs, _at_once(plan))
    if seconds is None:
        return f"time: {basis}", "dollars: no rate was measured"
    minutes = f"time: about {seconds / 60:,.0f} minutes, {_at_once(plan)} at a time, with rates"
    if where.price is None:
        return f"{minutes} {basis}", f"dollars: n/a on {where.name}"
    paid = seconds / 3600 * where.price.value
    return f"{minutes} {basis}", f"dollars: about {paid:,.2f} at {where.price.text}"


def _prepared(data: DataConfig) -> int | None:
    """The training tokens of a specification that is in the cache."""
    try:
        found = prepare.find_prepared(data)
    except RequestError:  # of a source that cannot be read here; a run would say so
        return None
    return found.manifest.train_tokens if found else None


def _print_needs(plan: Plan) -> None:
    prepared = cache(_prepared)  # many runs, few texts
    passes = needs.epochs(plan.runs, prepared)
    if passes is None:
        _say("epochs: not known before the data is prepared")
    else:
        most, run, known = passes
        more = "" if most <= needs.MAX_EPOCHS else f"; more than {needs.MAX_EPOCHS:g} are repeated"
        _say(
            f"epochs: at most {most:.1f} over the {'prepared' if known else 'asked for'} tokens "
            f"({run.arm}, {run.stage}){more}"
        )
    checkpoints, data = (
        needs.disk_bytes(plan.runs, keeps=SMALL_BYTES) / 1e9,
        needs.data_bytes(plan, prepared) / 1e9,
    )
    _say(f"disk: {checkpoints:,.1f} GB of checkpoints at most, {data:,.1f} GB of prepared data")
    host = needs.host_bytes(plan.runs, _at_once(plan)) / 1e9
    _say(f"host memory: about {host:,.1f} GB, {_at_once(plan)} at a time")


def _print(
    plan: Plan, rows: list[dict[str, Any]], records: Sequence[Record], where: Target
) -> None:
    base = plan.arms[0].config
    primary = plan.entry.primary
    pairs = ", ".join(f"{b} against {a}" for a, b in primary.pairs)
    terminal.say(f"{plan.entry.name} at {plan.scale} on {where.product or where.name}")
    terminal.say(plan.entry.summary, "  ")
    _say(f"question: {primary.metric} at {primary.at}: {pairs or 'of one arm, none compared'}")
    frozen = plan.entry.seeds[plan.scale]
    sequential = plan.entry.looks.get(plan.scale)
    rule = f"at most {frozen}, by a sequential design" if sequential else f"frozen: {frozen}"
    _say(f"seeds: {plan.seeds} ({rule})")
    _say(f"stages: {', '.join(dict.fromkeys(run.stage for run in plan.runs))}")
    _say(
        f"update: {base.batch.micro_batch} x {base.batch.grad_accum} x {base.data.seq_len} = "
        f"{base.tokens_per_update:,} tokens, "
        + (f"cut for the {plan.profile} device profile" if plan.profile else "the recipe's split")
    )
    _print_memory(plan, devices.of(where.kind).gpu() if where.product else None)
    _print_needs(plan)
    if slow := precision.emulated(plan.configs, _native(where)):
        _say(f"note: {slow}")
    for path, choice in plan.choices.items():
        _say(f"{path}=auto: {choice}")
    for row in rows:
        note = f" ({row['note']})" if row["note"] else ""
        terminal.say(f"arm {row['arm']}{note}")
        changes = ", ".join(f"{path.removeprefix('model.')}={v}" for path, v in row["diff"].items())
        _say(f"differs from the base in: {changes or 'nothing'}")
        state = row["total_parameters"] * BYTES_PER_PARAMETER / 1e9
        flops = row["flops_per_token"]
        cost = "FLOPs not known" if flops is None else f"{flops / 1e6:,.1f} MFLOP a token"
        _say(
            f"parameters: {row['total_parameters']:,} total, {row['active_parameters']:,} "
            f"active; {cost}; "
            f"{state:.2f} GB of weights, gradients and optimizer state"
        )
        for step in row["stages"]:
            changes = ", ".join(f"{path}={_short(v)}" for path, v in step["diff"].items())
            start = f"from {step['after']}" if step["after"] else "from an initialisation"
            _say(f"stage {step['stage']}, {start}: {changes or 'as the arm'}")
        for end in row["endpoints"]:
            flops = "FLOPs not known" if end["flops"] is None else f"{end['flops']:.3g} FLOPs"
            _say(
                f"horizon {end['horizon']}: {end['update']:,} updates, {end['tokens']:,} tokens, "
                f"{flops}"
            )
    runs = plan.runs
    for line in _time(plan, records, where):
        terminal.say(line)
    terminal.say(f"{len(runs)} runs, {_total_flops(plan)}; nothing was started")


def _native(where: Target) -> precision.Native:
    return precision.of_machine(where.kind) if where.product else precision.unasked()


def _say(text: str) -> None:
    """A line below a heading."""
    terminal.say(text, "  ", "    ")


def _short(value: Any) -> str:
    """Sources by their names; the rest as it is."""
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return "+".join(str(one.get("name")) for one in value)
    return str(value)


def _print_memory(plan: Plan, gpu: tuple[str, int, str] | None) -> None:
    """`gpu` is the one at hand, as its device has it."""
    largest = max((a.config for a in plan.arms), key=_memory_bytes)
    blocks = "compiled blocks keep" if profiles.fuses(largest) else "eager torch keeps"
    margin = ""
    if plan.profile and (whole := profiles.of(plan.profile).memory_bytes):
        may = profiles.USABLE * whole
        margin = f", of the {may / 1e9:.0f} that it may fill of {whole / 1e9:.0f}"
    elif gpu is not None and _memory_bytes(largest) > profiles.USABLE * gpu[1]:
        margin = f", more than is safe of this card's {gpu[1] / 1e9:.0f}"
    _say(
        f"memory: {_memory_bytes(largest) / 1e9:.1f} GB at most in one run{margin}, estimated by "
        f"what {blocks} for the backward pass"
    )


def _memory_bytes(config: RunConfig) -> float:
    return profiles.memory_bytes(config, config.batch.micro_batch)


def _total_flops(plan: Plan) -> str:
    from harness.launch.display import work

    if any(flops_unknown(run.config.model) for run in plan.runs):
        return "not all FLOPs known"
    return f"{sum(work(run) for run in plan.runs):.3g} FLOPs in all"
