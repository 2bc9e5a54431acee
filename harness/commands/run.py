"""`smol run`: prepare data, plan, leave out what is finished, launch the rest, render the card."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.code import behaviour, provenance
from harness.commands import places, run_data
from harness.commands import start as starts
from harness.commands.options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    LauncherOption,
    ProcessesOption,
    RecipeName,
    ResultsOption,
    ScaleOption,
    SeedsOption,
    SetOption,
)
from harness.commands.planned import (
    default_jobs,
    device_profile,
    evidence,
    read_device,
    read_overrides,
    read_scale,
    this_code,
)
from harness.commands.run_alone import alone
from harness.commands.run_end import End, report
from harness.commands.run_question import command, question
from harness.commands.start import Given
from harness.config import RunConfig, canonical
from harness.data.adopted import look
from harness.data.prepare import Prepared
from harness.errors import CheckFailed, RequestError, nearest
from harness.evidence import precision
from harness.launch import launchers, terminal
from harness.launch.base import Launcher
from harness.launch.protocol import Job, RunFiles, run_folder
from harness.machine import devices
from harness.plan import backlog as backlogs
from harness.plan import runs as planning
from harness.plan import stages
from harness.plan.forecast import Forecast
from harness.plan.grid import Arm
from harness.plan.profiles import Profile
from harness.plan.runs import Plan, Run
from harness.recipe import Entry, Scale, Stage, find
from harness.records import store
from harness.records.schema import Launch, Record
from harness.train import seal


@dataclass(frozen=True)
class Options:
    """Run a recipe and say which arm is better.

    What is finished is skipped, and what was interrupted goes on, so the same command may be
    given again at any time.
    """

    recipe: RecipeName
    scale: ScaleOption = "smoke"
    device: DeviceOption = "auto"
    seeds: SeedsOption = None
    sets: SetOption = field(default_factory=list)
    config: ConfigOption = None
    arms: Annotated[
        list[str],
        typer.Option(
            "--arm",
            metavar="ARM",
            show_default=False,
            help="Run this arm alone, with the runs that it needs. May be repeated.",
        ),
    ] = field(default_factory=list)
    stage: Annotated[
        str | None,
        typer.Option("--stage", help="Run this stage alone, with the stages that it needs."),
    ] = None
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="The model that the first stage, or --stage, starts from: smollm2, a run, a "
            "checkpoint, or transformers' folder.",
        ),
    ] = None
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="[STAGE=]DIR",
            show_default=False,
            help="A prepared folder instead of the recipe's data: ours, or any that `datasets` "
            "saved with input_ids (and labels) of one length. It is for --stage, else for the "
            "first stage.",
        ),
    ] = field(default_factory=list)
    text: Annotated[
        list[Path],
        typer.Option(
            "--text",
            metavar="FILE",
            show_default=False,
            help="Text of your own instead of the recipe's: a .txt, .jsonl or .parquet file, or a "
            "folder of them. May be repeated. Few documents are cut into spans.",
        ),
    ] = field(default_factory=list)
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            help="What a --data folder without a tokenizer was tokenized with: smollm2, or a "
            "folder.",
        ),
    ] = None
    results: ResultsOption = None
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, metavar="N", help="How many runs at a time. Default: cores / threads."
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and start nothing.")
    ] = False
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run again what other code or data has made.")
    ] = False
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave what other code or data has made as it is.")
    ] = False
    as_json: JsonOption = False
    launcher: LauncherOption = "local"
    processes: ProcessesOption = 1


@dataclass(frozen=True)
class Request:
    """What the user asked for, read and checked."""

    options: Options
    scale: Scale
    device: str
    results: Path
    overrides: Mapping[str, Any]
    launcher: Launcher
    given: Given | None = None
    """The model that the first stage (or `stage`) starts from."""
    only: Callable[[Run], bool] | None = None
    """Of what is to do, the runs now wanted; None is all."""

    @property
    def asked(self) -> dict[str, Any]:
        """What sets this request's records apart from the recipe's own."""
        given = {"--from": self.given.name} if self.given else {}
        return {**self.overrides, **given}


def run(options: Options, *, only: Callable[[Run], bool] | None = None) -> None:
    """Execute a recipe; `only` leaves out runs that are not wanted now, but for those that wanted
    ones start from; with it --fresh runs what is outdated again, and nothing that is finished.

    Raises RequestError (nothing was changed), CheckFailed (runs are outdated and neither --fresh
    nor --keep says what to do), or RunFailed (records say how).
    """
    request = _read(options, only)
    asked = _resolve(request)
    if options.dry_run:
        from harness.commands import show

        for folder in asked.folders.values():
            look(folder)
        show.show(show.Options(
            options.recipe, options.scale, options.device, options.seeds, options.sets,
            options.config, options.results, options.as_json,
        ))  # fmt: skip
        return
    # With --json all that is said on the way goes to stderr.
    with contextlib.redirect_stdout(sys.stderr) if options.as_json else contextlib.nullcontext():
        done = _execute(request, asked)
    _report(request, asked.entry, done)


@dataclass(frozen=True)
class Resolved:
    """What a request comes to before any data is there."""

    entry: Entry
    profile: Profile
    grid: Sequence[Arm]
    stages: Sequence[Stage]
    first: str | None
    """The stage at which it begins."""
    folders: Mapping[str | None, Path]
    """`--data`, by stage."""


def _resolve(request: Request) -> Resolved:
    """Raises RequestError for a recipe, an arm, a stage or a field that is not there."""
    options, entry = request.options, find(request.options.recipe)
    profile = device_profile(request.device)
    built, grid = planning.resolve(entry, request.scale, request.overrides, profile)
    arms = [arm.name for arm in grid]
    for name in options.arms:
        if name not in arms:
            raise RequestError(f"no arm '{name}'{nearest(name, arms)}")
    taken, first = stages.chosen(built.stages, options.stage, options.start is not None)
    folders = run_data.read_folders(options.data, taken, options.stage)
    return Resolved(entry, profile, grid, taken, first, folders)


def _execute(request: Request, asked: Resolved) -> list[Record]:
    """Do what is to do; returns the records of what was done."""
    options, entry, first = request.options, asked.entry, asked.first
    store.check_writable(request.results)
    records = store.read_all(request.results)
    needs = run_data.wanted(asked.grid, asked.stages)
    at_first = [need.config for need in needs if need.stage == first]
    if request.given is not None:
        starts.check_architecture(request.given, at_first)
    prepared = run_data.prepare_all(needs, asked.folders, options.tokenizer)
    if request.given is not None:
        starts.check_tokenizer(request.given, [prepared[canonical(c.data)] for c in at_first])
    plan = planning.make(
        entry,
        request.scale,
        request.device,
        seeds=options.seeds,
        overrides=request.overrides,
        tokenizer_digest=lambda d: prepared[canonical(d)].manifest.tokenizer_digest,
        device_class=devices.of(request.device).product(),
        world_size=options.processes,
        profile=asked.profile,
        given=request.given.name if request.given else None,
        start=first,
        evidence=evidence(
            records, request.scale, devices.of(request.device).product(), request.device
        ),
    )
    if slow := precision.emulated(plan.configs, precision.of_machine(request.device)):
        terminal.note(slow)
    if slow := precision.emulated(plan.configs, precision.of_machine(request.device)):
        print(f"note: {slow}", file=sys.stderr)
    todo = _select(plan, records, prepared, request)
    places.remember(request.results)
    if todo:
        return _launch(todo, plan, prepared, request)
    limited = options.keep or options.stage or request.only
    terminal.say(
        "nothing to do: nothing is missing of what was asked for"
        if limited
        else "nothing to do: every run of this recipe is finished under this code and data"
    )
    return []


def _read(options: Options, only: Callable[[Run], bool] | None) -> Request:
    """Raises RequestError for words that are none, or that exclude each other."""
    if options.fresh and options.keep:
        raise RequestError("--fresh and --keep exclude each other")
    if options.tokenizer is not None and not options.data:
        raise RequestError("--tokenizer goes with --data: the recipe's data has its own")
    scale = read_scale(options.scale)
    if options.arms and only is None:
        only = lambda run: run.arm in options.arms  # noqa: E731
    request = Request(
        options, scale, read_device(options.device), places.results_folder(scale, options.results),
        read_overrides(options.config, options.sets)
        | run_data.own_text(options.text, options.data),
        launchers.find(options.launcher, options.processes), only=only,
    )  # fmt: skip
    if options.start is None or options.dry_run:
        return request
    given = starts.find(options.start, scale=scale, results=request.results)
    return dataclasses.replace(request, given=given)


def _report(request: Request, entry: Entry, done: Sequence[Record]) -> None:
    options = request.options
    end = End(entry, request.scale, request.results, request.asked, done, options.results)
    report(end, as_json=options.as_json)


def _select(
    plan: Plan, records: list[Record], prepared: Mapping[str, Prepared], request: Request
) -> list[Run]:
    current = this_code(lambda data: prepared[canonical(data)].manifest.digest)
    backlog = backlogs.sort(plan, records, current)
    if backlog.unasked:
        seeds = sorted({run.seed for run in backlog.unasked})
        terminal.note(
            f"a sequential design: of seeds {', '.join(map(str, seeds))} it asks for nothing "
            + ("yet" if backlog.missing else "any more")
        )
    if backlog.outdated and not (request.options.fresh or request.options.keep):
        terminal.say(f"{len(backlog.outdated)} finished runs are outdated:")
        for run, why in backlog.outdated:
            terminal.say(f"{run.name}: {why}", "  ")
        raise CheckFailed(
            "say --fresh to run them again (old records stay), or --keep to leave these as "
            f"they are and run only the {len(backlog.pending)} that are missing"
        )
    if request.options.fresh:
        todo = backlog.missing
        if not todo and request.only is None:  # whoever names runs wants those that are missing
            todo = list(plan.runs)
    else:
        todo = list(backlog.pending)
    todo = backlogs.whole_blocks(todo, plan)
    if request.options.stage is not None:
        stages = {run.stage for run in plan.runs}
        if request.options.stage not in stages:
            raise RequestError(
                f"no stage '{request.options.stage}'{nearest(request.options.stage, stages)}"
            )
        todo = [run for run in todo if run.stage == request.options.stage]
    if request.only is not None:
        todo = [run for run in todo if request.only(run)]
    checkpoints = places.checkpoints_folder(request.results)
    by_key = {run.key: run for run in plan.runs}
    missing = {run.key for run in backlog.pending}

    def can_start(run: Run) -> bool:
        parent = RunFiles(run_folder(checkpoints, by_key[str(run.parent)]))
        branch = parent.branch(run.first_update, current.source_digest)
        if said := seal.keep_whole(branch if run.start == "branch" else parent.final):
            terminal.say(f"{by_key[str(run.parent)].name}: {said}", "  ")
        if run.start == "branch":
            return branch.exists()
        return parent.ended_with(current.source_digest) and run.parent not in missing

    runs, added = backlogs.with_parents(todo, plan, can_start)
    for run in added:
        if run.key in missing:
            terminal.say(f"{run.name} runs first: a later stage starts from it", "  ")
        else:
            terminal.say(
                f"{run.name} runs again: its checkpoint is gone, and a later stage needs it",
                "  ",
            )
    return runs


def _launch(
    runs: Sequence[Run], plan: Plan, prepared: Mapping[str, Prepared], request: Request
) -> list[Record]:
    from harness.code import snapshot
    from harness.launch.display import Progress
    from harness.launch.execute import Interrupted, execute

    # Loaded before the runs: hours later the code on disk may be another.
    from harness.report import card, sentence, views  # noqa: F401
    from harness.report.run_plot import draw

    views.load()

    checkpoints = places.checkpoints_folder(request.results)
    timing = plan.recipe.timing
    if timing is not None and request.options.jobs not in (None, 1):
        raise RequestError(
            f"--jobs {request.options.jobs}: {request.options.recipe} times its runs, one at a time"
        )
    if timing is not None and request.options.processes > 1:
        raise RequestError("--processes: a recipe that times its runs gives each one process")
    workers = 1 if timing else request.options.jobs or default_jobs(request.device, runs)
    campaign = datetime.now(UTC).isoformat(timespec="seconds")
    by_key = {run.key: run for run in plan.runs}
    arms = {arm.name: arm for arm in plan.arms}
    asked, text = question(plan, request.asked), command(request, plan.entry)
    code, known = provenance.code(), behaviour.of_code()
    forecast = Forecast.of_this_machine(request.device, store.read_all(request.results))
    jobs = [
        Job(
            run=run,
            question=asked,
            code=code.model_copy(
                # No trajectory goes through a Triton kernel, nor through a user's part.
                update={"behaviour_digest": None if unseen(run.config) else known}
            ),
            arm_values=dict(arms[run.arm].values),
            diff=dict(arms[run.arm].diff),
            command=text,
            results=str(request.results.resolve()),
            folder=str(run_folder(checkpoints, run)),
            data_folder=str(prepared[canonical(run.config.data)].folder.resolve()),
            parent_folder=str(run_folder(checkpoints, by_key[run.parent])) if run.parent else None,
            given=str(request.given.path) if run.given and request.given else None,
            # A launch is measured as a whole, or it is not.
            fresh=request.options.fresh or timing is not None,
            concurrent_runs=workers,
            launch=Launch(campaign=campaign, place=place, cache=timing.cache) if timing else None,
            predicted_seconds=forecast.seconds(run),
            launched_at=0.0,
        )
        for place, run in enumerate(runs)
    ]
    terminal.say(
        f"{plan.entry.name} at {plan.scale} on {devices.of(request.device).product()}: "
        f"{len(runs)} runs of {len(plan.runs)}, {workers} at a time"
    )
    with alone(checkpoints, request.results, plan), Progress(runs) as display:
        try:
            return execute(
                jobs, launcher=request.launcher, workers=workers,
                code=snapshot.take(checkpoints), display=display,
                on_record=lambda job, _: draw(job.files.summary, job.files.plot, job.run.name),
            )  # fmt: skip
        except Interrupted:
            with contextlib.suppress(RequestError):
                _report(request, plan.entry, [])
            print("interrupted: states are saved; the same command goes on", file=sys.stderr)
            raise SystemExit(130) from None


def unseen(config: RunConfig) -> bool:
    """Whether a run goes through code that no reference trajectory does."""
    parts = (config.optim, config.model.feed_forward, config.model.attention)
    return bool(config.train.kernels) or any(part.code for part in parts)
