"""`smol run`: prepare data, plan, leave out what is finished, launch the rest, render the card."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from harness.code import behaviour, provenance
from harness.commands import places, run_data
from harness.commands import start as starts
from harness.commands.start import Given
from harness.config import canonical, parse_overrides
from harness.data.prepare import Prepared
from harness.errors import CheckFailed, RequestError, RunFailed, nearest
from harness.evidence import precision
from harness.launch.protocol import Job, RunFiles, run_folder
from harness.machine import hardware
from harness.plan import backlog as backlogs
from harness.plan import profiles, stages
from harness.plan import runs as planning
from harness.plan.auto import Evidence
from harness.plan.forecast import Forecast
from harness.plan.profiles import Profile
from harness.plan.runs import Plan, Run
from harness.recipe import Entry, Scale, find
from harness.records import store
from harness.records.schema import Launch, Question, Record


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    recipe: str
    scale: Scale
    device: str
    seeds: int | None
    overrides: Mapping[str, Any]
    stage: str | None
    data: Sequence[str]
    """Folders instead of the recipe's data, `DIR` or `STAGE=DIR`."""
    tokenizer: str | None
    results: Path
    jobs: int | None
    dry_run: bool
    fresh: bool
    keep: bool
    given: Given | None = None
    """The model that the first stage (or `stage`) starts from."""
    only: Callable[[Run], bool] | None = None
    """Of what is to do, the runs now wanted; None is all."""

    @property
    def asked(self) -> dict[str, Any]:
        """What sets this request's records apart from the recipe's own."""
        given = {"--from": self.given.name} if self.given else {}
        return {**self.overrides, **given}


def read_scale(text: str) -> Scale:
    """Raises RequestError for an unknown scale."""
    for known in get_args(Scale):
        if text == known:
            return known
    raise RequestError(f"no scale '{text}'{nearest(text, get_args(Scale))}")


def read_device(text: str) -> str:
    """`auto` is cuda where a driver answers, else cpu. Raises RequestError for another word."""
    if text not in ("auto", "cpu", "cuda"):
        raise RequestError(f"no device '{text}'{nearest(text, ('auto', 'cpu', 'cuda'))}")
    found = hardware.has_gpu()
    if text == "cuda" and not found:
        raise RequestError("--device cuda, but no NVIDIA driver answers (`smol doctor` tells more)")
    return "cuda" if text != "cpu" and found else "cpu"


def device_profile(device: str) -> Profile:
    """How updates are cut on this machine's device."""
    return profiles.of(hardware.gpu_memory_bytes() if device == "cuda" else None)


def run(
    recipe: str,
    *,
    scale: str,
    device: str,
    seeds: int | None,
    sets: list[str],
    stage: str | None,
    data: list[str],
    start: str | None,
    tokenizer: str | None = None,
    results: Path | None,
    jobs: int | None,
    dry_run: bool,
    fresh: bool,
    keep: bool,
    only: Callable[[Run], bool] | None = None,
) -> None:
    """Execute a recipe. `tokenizer` says what a `data` folder that others prepared was made with;
    `start` names the model that the first stage (or `stage`) starts from; `only` leaves out runs
    that are not wanted now, but for those that wanted ones start from.

    Raises RequestError (nothing was changed), CheckFailed (runs are outdated and neither --fresh
    nor --keep says what to do), or RunFailed (records say how).
    """
    if fresh and keep:
        raise RequestError("--fresh and --keep exclude each other")
    if tokenizer is not None and not data:
        raise RequestError("--tokenizer goes with --data: the recipe's data has its own")
    known = read_scale(scale)
    request = Request(
        recipe, known, read_device(device), seeds, parse_overrides(sets), stage, data,
        tokenizer, places.results_folder(known, results), jobs, dry_run, fresh, keep, only=only,
    )  # fmt: skip
    if start is not None and not dry_run:
        given = starts.find(start, scale=known, results=request.results)
        request = dataclasses.replace(request, given=given)
    entry = find(recipe)
    profile = device_profile(request.device)
    built, grid = planning.resolve(entry, known, request.overrides, profile)
    taken, first = stages.chosen(built.stages, stage, start is not None)
    folders = run_data.read_folders(data, taken, stage)
    if dry_run:
        from harness.commands.show import show

        show(recipe, scale=scale, device=device, seeds=seeds, sets=sets, as_json=False)
        return
    store.check_writable(request.results)
    records = store.read_all(request.results)
    needs = run_data.wanted(grid, taken)
    at_first = [need.config for need in needs if need.stage == first]
    if request.given is not None:
        starts.check_architecture(request.given, at_first)
    prepared = run_data.prepare_all(needs, folders, tokenizer)
    if request.given is not None:
        starts.check_tokenizer(request.given, [prepared[canonical(c.data)] for c in at_first])
    plan = planning.make(
        entry,
        known,
        request.device,
        seeds=seeds,
        overrides=request.overrides,
        tokenizer_digest=lambda d: prepared[canonical(d)].manifest.tokenizer_digest,
        device_class=hardware.device_class(request.device),
        profile=profile,
        given=request.given.name if request.given else None,
        start=first,
        evidence=evidence(records, known, request.device),
    )
    if slow := precision.emulated(plan.configs, precision.of_machine(request.device)):
        print(f"note: {slow}", file=sys.stderr)
    todo = _select(plan, records, prepared, request)
    done = _launch(todo, plan, prepared, request) if todo else []
    _report(request, done, nothing_to_do=not todo)


def _select(
    plan: Plan, records: list[Record], prepared: Mapping[str, Prepared], request: Request
) -> list[Run]:
    current = backlogs.Current(
        provenance.source_digest(),
        provenance.software_set(provenance.software()),
        lambda run: prepared[canonical(run.config.data)].manifest.digest,
        behaviour.of_code,
    )
    backlog = backlogs.sort(plan, records, current)
    if backlog.outdated and not (request.fresh or request.keep):
        print(f"{len(backlog.outdated)} finished runs are outdated:")
        for run, why in backlog.outdated:
            print(f"  {run.name}: {why}")
        raise CheckFailed(
            "say --fresh to run them again (old records stay), or --keep to leave these as "
            f"they are and run only the {len(backlog.pending)} that are missing"
        )
    if request.fresh:
        stale = [run for run, _ in backlog.outdated]
        todo = [*stale, *backlog.pending] or list(plan.runs)
    else:
        todo = list(backlog.pending)
    todo = backlogs.whole_blocks(todo, plan)
    if request.stage is not None:
        stages = {run.stage for run in plan.runs}
        if request.stage not in stages:
            raise RequestError(f"no stage '{request.stage}'{nearest(request.stage, stages)}")
        todo = [run for run in todo if run.stage == request.stage]
    if request.only is not None:
        todo = [run for run in todo if request.only(run)]
    checkpoints = places.checkpoints_folder(request.results)
    by_key = {run.key: run for run in plan.runs}
    missing = {run.key for run in backlog.pending}

    def can_start(run: Run) -> bool:
        parent = RunFiles(run_folder(checkpoints, by_key[str(run.parent)]))
        if run.start == "branch":
            return parent.branch(run.first_update, current.source_digest).exists()
        return parent.ended_with(current.source_digest) and run.parent not in missing

    runs, added = backlogs.with_parents(todo, plan, can_start)
    for run in added:
        if run.key in missing:
            print(f"  {run.name} runs first: a later stage starts from it")
        else:
            print(f"  {run.name} runs again: its checkpoint is gone, and a later stage needs it")
    return runs


def evidence(records: Sequence[Record], scale: Scale, device: str) -> Evidence:
    """What was timed at this scale on a device of this class, for fields that say `auto`."""
    from harness.evidence import launches

    name = hardware.device_class(device)
    return Evidence(
        compile_lines=lambda: launches.lines_of(records, scale, name),
        kernel_ratios=lambda: launches.kernel_ratios(records, scale, name),
        native=lambda: precision.of_machine(device),
    )


def question(plan: Plan, overrides: Mapping[str, Any]) -> Question:
    """What the recipe asks, as each record carries it."""
    entry, recipe = plan.entry, plan.recipe
    return Question(
        summary=entry.summary,
        metric=entry.primary.metric,
        at=entry.primary.at,
        pairs=entry.primary.pairs,
        seeds=entry.seeds[plan.scale],
        first_seed=entry.first_seed,
        tuned_by=recipe.tuned_by,
        arms=tuple(arm.name for arm in plan.arms),
        notes=dict(recipe.notes),
        horizons=tuple(planning.horizon_names(recipe)),
        stages=tuple(stage.name for stage in recipe.stages),
        views=tuple(recipe.views),
        margin=recipe.timing.margin if recipe.timing else None,
        fewest=recipe.timing.fewest if recipe.timing else None,
        choices=dict(plan.choices),
        overrides=dict(overrides),
    )


def command(request: Request, entry: Entry) -> str:
    """The command that runs this recipe again, without paths of this machine."""
    words = ["smol", "run", request.recipe, "--scale", request.scale, "--device", request.device]
    if request.seeds is not None and request.seeds != entry.seeds[request.scale]:
        words += ["--seeds", str(request.seeds)]
    for path, value in request.overrides.items():
        words += ["--set", f"{path}={value if isinstance(value, str) else json.dumps(value)}"]
    for pair in request.data:
        name, equals, folder = pair.rpartition("=")
        words += ["--data", name + equals + Path(folder).name]
    if request.given is not None:
        stage = ["--stage", request.stage] if request.stage else []
        words += [*stage, "--from", Path(request.given.argument).name]
    return shlex.join(words)


def _launch(
    runs: Sequence[Run], plan: Plan, prepared: Mapping[str, Prepared], request: Request
) -> list[Record]:
    from harness.code import snapshot
    from harness.launch import local
    from harness.launch.display import Progress

    # Loaded before the runs: hours later the code on disk may be another.
    from harness.report import card, comparison, drawn  # noqa: F401
    from harness.report.run_plot import draw

    checkpoints = places.checkpoints_folder(request.results)
    timing = plan.recipe.timing
    if timing is not None and request.jobs not in (None, 1):
        raise RequestError(f"--jobs {request.jobs}: {request.recipe} times its runs, one at a time")
    workers = 1 if timing else request.jobs or default_jobs(request.device, runs)
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
                # No trajectory goes through a Triton kernel.
                update={"behaviour_digest": None if run.config.train.kernels else known}
            ),
            arm_values=dict(arms[run.arm].values),
            diff=dict(arms[run.arm].diff),
            command=text,
            results=str(request.results.resolve()),
            folder=str(run_folder(checkpoints, run)),
            data_folder=str(prepared[canonical(run.config.data)].folder.resolve()),
            parent_folder=str(run_folder(checkpoints, by_key[run.parent])) if run.parent else None,
            given=str(request.given.path) if run.given and request.given else None,
            attempt=store.next_attempt(request.results, run.recipe, run.arm, run.key),
            concurrent_runs=workers,
            launch=Launch(campaign=campaign, place=place, cache=timing.cache) if timing else None,
            predicted_seconds=forecast.seconds(run),
            launched_at=0.0,
        )
        for place, run in enumerate(runs)
    ]
    print(
        f"{plan.entry.name} at {plan.scale} on {hardware.device_class(request.device)}: "
        f"{len(runs)} runs of {len(plan.runs)}, {workers} at a time",
        flush=True,
    )
    with _alone(checkpoints, plan), Progress(runs) as display:
        try:
            return local.execute(
                jobs, workers=workers, code=snapshot.take(checkpoints), display=display,
                on_record=lambda job, _: draw(job.files.summary, job.files.plot, job.run.name),
            )  # fmt: skip
        except local.Interrupted:
            with contextlib.suppress(RequestError):
                _report(request, [], nothing_to_do=False)
            print("interrupted: states are saved; the same command goes on", file=sys.stderr)
            raise SystemExit(130) from None


@contextlib.contextmanager
def _alone(checkpoints: Path, plan: Plan) -> Iterator[None]:
    """Two launches of one recipe would write the same records.

    Raises RequestError while another is at work.
    """
    from filelock import FileLock, Timeout

    lock = checkpoints / plan.entry.name / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise RequestError(f"another `smol run {plan.entry.name}` is at work here") from None


def default_jobs(device: str, runs: Sequence[Run]) -> int:
    """One run at a time on a GPU; on a CPU as many as its cores hold at the runs' threads."""
    if device == "cuda":
        return 1
    threads = max(run.config.train.threads for run in runs)
    return max(1, hardware.cores() // threads)


def _report(request: Request, done: Sequence[Record], *, nothing_to_do: bool) -> None:
    from harness.report import card, drawn

    if nothing_to_do:
        if request.keep or request.stage or request.only:
            print("nothing to do: nothing is missing of what was asked for")
        else:
            print("nothing to do: every run of this recipe is finished under this code and data")
    card.regenerate(request.results)
    _print_losses(request)
    print(f"card:    {request.results / card.CARD}")
    for figure in sorted((request.results / drawn.FOLDER).glob(f"{request.recipe}.*.png")):
        print(f"figure:  {figure}")
    failed = [record for record in done if record.status != "ok"]
    if failed:
        names = "; ".join(f"{r.name} {r.status}: {r.error}" for r in failed[:3])
        raise RunFailed(f"{len(failed)} of {len(done)} runs did not end well: {names}")


def _print_losses(request: Request) -> None:
    """The card's first result table of this recipe and scale, for the terminal."""
    from harness.evidence.sections import sections
    from harness.report import losses

    for section in sections(store.read_all(request.results)):
        asked = (section.recipe, section.scale, canonical(dict(section.overrides)))
        if asked != (request.recipe, request.scale, canonical(request.asked)):
            continue
        table = losses.losses(section)
        lines = [[table.corner, *(column.header for column in table.columns)]]
        lines += [[row.name, *(cell.text for cell in row.cells)] for row in table.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
