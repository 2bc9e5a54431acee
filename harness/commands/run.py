"""`smol run`: prepare data, plan, leave out what is finished, launch the rest, render the card."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from harness.code import behaviour, provenance
from harness.commands import ladder, places, run_data, run_scripts
from harness.commands import start as starts
from harness.commands.planned import default_jobs, target
from harness.commands.request import Asked, Beforehand, Options, Request, ask, read
from harness.commands.run_alone import alone
from harness.commands.run_end import End, report
from harness.commands.run_question import again, command, question, unseen
from harness.commands.run_select import select
from harness.config import canonical
from harness.data.adopted import look
from harness.data.prepare import Prepared
from harness.errors import RequestError
from harness.evidence import precision
from harness.launch import terminal
from harness.launch.announce import announced
from harness.launch.base import opened
from harness.launch.protocol import Job, RunFiles, run_folder
from harness.machine import devices
from harness.plan import runs as planning
from harness.plan.forecast import Forecast
from harness.plan.needs import MAX_EPOCHS, epochs
from harness.plan.runs import Plan, Run, Where
from harness.recipe import LADDER, Entry, find
from harness.records import store
from harness.records.schema import Launch, Record
from harness.referee.recipe import ScriptsEntry


def run(
    options: Options,
    *,
    only: Callable[[Run], bool] | None = None,
    beforehand: Beforehand | None = None,
) -> None:
    """Execute a recipe; `only` leaves out runs that are not wanted now, but for those that wanted
    ones start from; with it --fresh runs what is outdated again, and nothing that is finished.
    `beforehand` is the recipe where another command has frozen something of it.

    Raises RequestError (nothing was changed), CheckFailed (runs are outdated and neither --fresh
    nor --keep says what to do), or RunFailed (records say how).
    """
    if options.scale == LADDER:
        ladder.climb(options, run)
        return
    entry = find(options.recipe)
    if isinstance(entry, ScriptsEntry):
        run_scripts.run(entry, options)
        return
    request = read(options, only, beforehand)
    asked = ask(request)
    if options.dry_run:
        from harness.commands import show

        for folder in asked.folders.values():
            look(folder)
        show.say(
            asked.resolved, target(request.device, request.results), asked.records, options.seeds,
            processes=options.processes, only=request.only, as_json=options.as_json,
        )  # fmt: skip
        return
    # With --json all that is said on the way goes to stderr.
    with contextlib.redirect_stdout(sys.stderr) if options.as_json else contextlib.nullcontext():
        done = _execute(request, asked)
    _report(request, asked.resolved.entry, done)


def _execute(request: Request, asked: Asked) -> list[Record]:
    """Do what is to do; returns the records of what was done."""
    options, first = request.options, asked.first
    store.check_writable(request.results)
    needs = run_data.wanted(asked.resolved.arms, asked.stages)
    at_first = [need.config for need in needs if need.stage == first]
    if request.given is not None:
        starts.check_architecture(request.given, at_first)
    prepared = run_data.prepare_all(needs, asked.folders, options.tokenizer)
    if request.given is not None:
        starts.check_tokenizer(request.given, [prepared[canonical(c.data)] for c in at_first])
    plan = planning.make(
        asked.resolved,
        Where(request.device, devices.of(request.device).product(), options.processes),
        lambda data: prepared[canonical(data)].manifest.tokenizer_digest,
        seeds=options.seeds,
        given=request.given.name if request.given else None,
        start=first,
    )
    if slow := precision.emulated(plan.configs, precision.of_machine(request.device)):
        terminal.note(slow)
    todo = select(plan, asked.records, prepared, request)
    if not options.repeat_data:
        _check_epochs(plan, todo, prepared)
    places.remember(request.results)
    _draw_missing(plan, request)
    if todo:
        return _launch(todo, plan, prepared, request, asked.records)
    return _nothing_to_do(request)


def _nothing_to_do(request: Request) -> list[Record]:
    limited = request.options.keep or request.options.stage or request.only
    terminal.say(
        "nothing to do: nothing is missing of what was asked for"
        if limited
        else "nothing to do: every run of this recipe is finished under this code and data"
    )
    return []


def _draw_missing(plan: Plan, request: Request) -> None:
    """The pictures of runs whose launcher ended after their record and before it had drawn them."""
    checkpoints = places.checkpoints_folder(request.results)
    for run in plan.runs:
        files = RunFiles(run_folder(checkpoints, run))
        if files.summary.is_file() and not files.plot.exists():
            from harness.report.run_plot import draw

            draw(files.summary, files.plot, run.name)


def _check_epochs(plan: Plan, runs: Sequence[Run], prepared: Mapping[str, Prepared]) -> None:
    """Raises RequestError where a run at full size would read its data more often than is of use.

    At the smaller scales texts are few by design, and runs too short to learn them by heart.
    """
    if plan.scale != "full":
        return
    found = epochs(runs, lambda data: prepared[canonical(data)].manifest.train_tokens)
    if found is None or found[0] <= MAX_EPOCHS:
        return
    passes, run, _ = found
    held = prepared[canonical(run.config.data)].manifest.train_tokens
    raise RequestError(
        f"{run.arm}, {run.stage}: {passes:.1f} passes over {held:,} tokens, more than "
        f"{MAX_EPOCHS:g}: it would measure who learns them by heart. Give more data (--data), "
        "train on less (--set train.tokens=N), or say --repeat-data"
    )


def _report(request: Request, entry: Entry, done: Sequence[Record]) -> None:
    options = request.options
    end = End(
        entry, request.scale, request.results, request.asked, done,
        again(request), options.text, options.results,
    )  # fmt: skip
    report(end, as_json=options.as_json)


def _launch(
    runs: Sequence[Run],
    plan: Plan,
    prepared: Mapping[str, Prepared],
    request: Request,
    records: Sequence[Record],
) -> list[Record]:
    """Execute the runs that `records` leave to do, less what another launcher did meanwhile."""
    from harness.code import snapshot
    from harness.launch.disk import Disk
    from harness.launch.display import ProgressDisplay
    from harness.launch.execute import Interrupted, execute
    from harness.launch.sinks import Sinks

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

    def room() -> Disk:
        well = {r.key for r in records if r.status == "ok"}
        return Disk(plan.runs, well - {run.key for run in runs}, checkpoints, terminal.note)

    disk = room()
    disk.check_all(runs)
    here, launcher = default_jobs(request.device, runs), request.launcher
    folder = snapshot.take(checkpoints)

    def ended(job: Job, record: Record) -> None:
        draw(job.files.summary, job.files.plot, job.run.name)
        disk.ended(job, record)

    with contextlib.ExitStack() as held:
        held.enter_context(alone(checkpoints, request.results, plan))
        if store.names(request.results, plan.entry.name) != {
            store.path_of(record) for record in records if record.recipe == plan.entry.name
        }:  # another was at work here while this one planned and prepared
            records = store.read_all(request.results)
            runs = select(plan, records, prepared, request)
            if not runs:
                return _nothing_to_do(request)
            disk = room()
        held.enter_context(opened(launcher, folder))
        workers = 1 if timing else request.options.jobs or launcher.at_once(here, runs)
        jobs = _jobs(runs, plan, records, prepared, request, workers)
        terminal.say(
            f"{plan.entry.name} at {plan.scale} on {devices.of(request.device).product()}: "
            f"{len(runs)} runs of {len(plan.runs)}, {workers} at a time"
        )
        try:
            with (
                announced(checkpoints, jobs, workers, devices.of(request.device).product()),
                ProgressDisplay(runs) as progress,
                Sinks(
                    progress, request.trackers, places.trackers_folder(request.results)
                ) as display,
            ):
                return execute(
                    jobs, launcher=launcher, workers=workers, code=folder, display=display,
                    on_record=ended, may_start=disk.check,
                )  # fmt: skip
        except Interrupted:
            with contextlib.suppress(RequestError):
                _report(request, plan.entry, [])
            said = "interrupted: states are saved; the same command goes on"
            print(terminal.wrapped(said), file=sys.stderr)
            raise SystemExit(130) from None


def _jobs(
    runs: Sequence[Run],
    plan: Plan,
    records: Sequence[Record],
    prepared: Mapping[str, Prepared],
    request: Request,
    workers: int,
) -> list[Job]:
    """The runs with all that their processes need; `workers` of them will go on at a time, and
    `records` are those that left them to do."""
    checkpoints, timing = places.checkpoints_folder(request.results), plan.recipe.timing
    campaign = datetime.now(UTC).isoformat(timespec="seconds")
    by_key = {run.key: run for run in plan.runs}
    arms = {arm.name: arm for arm in plan.arms}
    asked, text = question(plan, request.asked), command(request, plan.entry)
    code, known = provenance.code(), behaviour.of_code()
    forecast = Forecast.of_this_machine(request.device, records)
    attempts = {r.key: r.attempt for r in sorted(records, key=lambda r: r.attempt)}
    return [
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
            attempts=attempts.get(run.key, 0),
            concurrent_runs=workers,
            launch=Launch(campaign=campaign, place=place, cache=timing.cache) if timing else None,
            predicted_seconds=forecast.seconds(run),
            launched_at=0.0,
        )
        for place, run in enumerate(runs)
    ]
