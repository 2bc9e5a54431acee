"""`smol referee`: other people's training scripts as arms, judged in pairs. No torch."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from harness.commands import places
from harness.commands.options import DeviceOption, JsonOption, ResultsOption
from harness.commands.planned import read_device
from harness.errors import CheckFailed, RequestError, RunFailed
from harness.launch import terminal
from harness.machine import hardware
from harness.plan.campaign import seconds_of
from harness.records.foreign import FOLDER as SCRIPTS
from harness.records.store import check_writable
from harness.referee import answer, arms, formats, tracing
from harness.referee.carrying import copies
from harness.referee.case import Outcome
from harness.referee.planning import RefereeRequest
from harness.referee.session import Say, Session
from harness.report import scripts

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class Options:
    """Judge training scripts that are not ours.

    Every arm is a folder with a script, or a revision of one in git; the first is the baseline.
    The same command goes on where the last one ended. Exit code 0 where a candidate is better,
    1 where none is, 3 where a run failed.
    """

    arms: Annotated[
        list[str],
        typer.Argument(
            metavar="BASELINE CANDIDATE...",
            show_default=False,
            help="Folders, or PATH@REV of git. NAME=PATH gives one a name.",
        ),
    ] = field(default_factory=list)
    command: Annotated[
        str,
        typer.Option(
            "--command",
            help="What to run in the arm's folder. {seed}, or SMOL_SEED, carries the seed.",
        ),
    ] = "python train.py --seed {seed}"
    seeds: Annotated[
        int, typer.Option("--seeds", min=2, help="How many pairs; frozen when asked.")
    ] = 5
    first_seed: Annotated[
        int,
        typer.Option("--first-seed", min=0, max=9_999, help="New seeds make a new question."),
    ] = 0
    budget: Annotated[
        str, typer.Option("--budget", help="The time of one run, such as 5m; then it is ended.")
    ] = "1h"
    memory: Annotated[
        str | None,
        typer.Option("--memory", help="The memory of one run, such as 8G; then it is ended."),
    ] = None
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="How results are read: metric, blocks, autoresearch, nanochat, modded-nanogpt, "
            "json, jsonl, trainer or lm-eval, each also with :FILE, or regex:PATTERN.",
        ),
    ] = "metric"
    metric: Annotated[
        str | None, typer.Option("--metric", help="The metric, where several are reported.")
    ] = None
    lower: Annotated[
        bool | None,
        typer.Option("--lower/--higher", help="Which is better, where the script does not say."),
    ] = None
    frozen: Annotated[
        list[str],
        typer.Option(
            "--frozen",
            metavar="FILE",
            show_default=False,
            help="A file, folder or glob that no arm may change. May be repeated.",
        ),
    ] = field(default_factory=list)
    equal: Annotated[
        list[str],
        typer.Option(
            "--equal",
            metavar="NAME",
            show_default=False,
            help="What must be equal to 2 %, such as tokens or seconds. May be repeated.",
        ),
    ] = field(default_factory=list)
    share: Annotated[
        list[str],
        typer.Option(
            "--share",
            metavar="PATH",
            show_default=False,
            help="Data in the baseline's folder that is linked, not copied. May be repeated.",
        ),
    ] = field(default_factory=list)
    noise_floor: Annotated[
        int,
        typer.Option("--noise-floor", min=0, help="Runs of the baseline that show its spread."),
    ] = 0
    again: Annotated[
        bool, typer.Option("--again/--no-again", help="Run each arm's first seed twice.")
    ] = True
    device: DeviceOption = "auto"
    name: Annotated[
        str | None,
        typer.Option("--name", help="The comparison's name. Default: the baseline's folder."),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say the cost and what can be seen; start nothing.")
    ] = False
    retry: Annotated[bool, typer.Option("--retry", help="Run again what failed.")] = False
    fresh: Annotated[bool, typer.Option("--fresh", help="Run everything again.")] = False
    trace: Annotated[
        str | None,
        typer.Option("--trace", metavar="NAME/ARM/SEED", help="Only say what a run was."),
    ] = None
    results: ResultsOption = None
    as_json: JsonOption = False


def referee(options: Options) -> None:
    """Run what is missing, judge, print; or print what a run was.

    Raises CheckFailed where no candidate is better, RunFailed where a run failed, RequestError
    for what cannot be asked.
    """
    if options.trace is not None:
        print(tracing.trace(_existing(options.results), options.trace))
        return
    folder = places.results_folder(None, options.results)
    check_writable(folder)
    if not options.arms:
        raise RequestError("smol referee BASELINE CANDIDATE...: folders, or git's PATH@REV")
    if len(options.arms) == 1 and not options.noise_floor:
        raise RequestError("one arm alone: name a CANDIDATE, or --noise-floor N")
    work = places.checkpoints_folder(folder) / ".referee"
    request = _request(options, folder, work)
    taken = arms.take(
        options.arms, copies(work, request.name), shared=options.share, ours=(folder, work)
    )
    arms.refuse_missing_share(options.share, taken[0].place)
    _judge(request, taken, options.as_json)


def _request(options: Options, results: Path, work: Path) -> RefereeRequest:
    lower = options.lower
    return RefereeRequest(
        name=_name(options.name, arms.named(options.arms)[0][0]), seeds=options.seeds,
        first_seed=options.first_seed, budget=budget_of(options.budget),
        command=command_of(options.command), format=formats.named(options.format_),
        metric=options.metric, way=None if lower is None else "lower" if lower else "higher",
        frozen=tuple(options.frozen), equal=tuple(options.equal), shared=tuple(options.share),
        noise_floor=options.noise_floor, device=read_device(options.device),
        memory_limit=bytes_of(options.memory), results=results, work=work, again=options.again,
        retry=options.retry, fresh=options.fresh, dry_run=options.dry_run,
    )  # fmt: skip


def _judge(request: RefereeRequest, taken: list[arms.ForeignArm], as_json: bool) -> None:
    def say(text: str) -> None:
        stream = sys.stderr if as_json else sys.stdout
        print(terminal.wrapped(text) if stream.isatty() else text, file=stream, flush=True)

    session = Session(request, taken, say)
    announce(session, say)
    if request.dry_run:
        if as_json:
            print(json.dumps(answer.as_object(session.outcome()), ensure_ascii=False))
        return
    outcome, written = carry_on(session, say)
    if as_json:
        print(json.dumps(answer.as_object(outcome), ensure_ascii=False), flush=True)
    else:
        for line in answer.as_lines(outcome):
            say(line)
    say(f"page: {written}")
    refuse_failed(outcome)
    if outcome.judgements and outcome.exit_code():
        raise CheckFailed("no candidate is better than the baseline, as far as these pairs tell")


def announce(session: Session, say: Say) -> None:
    """What has become outdated, the cost, and what can be seen."""
    for line in session.case.outdated():
        say(f"outdated: {line}")
    if session.missing():
        say(f"{session.request.name}: {session.cost()}; {session.seen()}")


def carry_on(session: Session, say: Say) -> tuple[Outcome, Path]:
    """Run what is missing, judge, write the page. SIGTERM ends the run that goes on, too, as
    Ctrl-C does."""
    if not session.missing():
        say(f"{session.request.name}: nothing to do, every run is there")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        session.spend()
    finally:
        signal.signal(signal.SIGTERM, before)
    outcome = session.outcome()
    return outcome, scripts.write(session.request.results, outcome)


def refuse_failed(outcome: Outcome) -> None:
    """Raise RunFailed where a run does not count."""
    failed = [f"{arm} seed {r.seed}: {why}" for arm, f in outcome.faults.items() for r, why in f]
    if failed:
        raise RunFailed(f"{len(failed)} of the runs failed; {failed[0]}")


def _existing(chosen: Path | None) -> Path:
    """A folder that scripts have left runs in, of which recipes may know nothing."""
    folder = places.results_folder(None, chosen)
    if not (folder / SCRIPTS).is_dir():
        raise RequestError(f"no runs of scripts in '{folder}'")
    return folder


def _name(asked: str | None, baseline: str) -> str:
    """A comparison is called by its baseline's folder, whatever the revision."""
    name = asked if asked is not None else baseline.partition("@")[0] or baseline
    if not re.fullmatch(r"\w[\w.+=@,-]*", name, re.ASCII):
        raise RequestError(f"--name '{name}': only letters, digits and . _ + = @ , -")
    return name


def command_of(text: str, where: str = "--command") -> tuple[str, ...]:
    """The words of a command. Raises RequestError for none, or one that is not there; `where`
    names what was asked."""
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise RequestError(f"{where}: {error}") from None
    if not parts:
        raise RequestError(f"{where} is empty")
    if "/" not in parts[0] and shutil.which(parts[0]) is None:
        raise RequestError(f"{where}: no program '{parts[0]}' on the path")
    return tuple(parts)


def budget_of(text: str) -> float:
    """Seconds of a time such as `5m`. Raises RequestError for none."""
    seconds = seconds_of(text)
    if seconds <= 0.0:
        raise RequestError(f"--budget {text}: a run needs some time")
    return seconds


def bytes_of(text: str | None) -> int | None:
    """`8G`; None gives nine tenths of the machine's memory, where that is known."""
    if text is None:
        return int(0.9 * hardware.memory_bytes()) or None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)B?", text.strip().upper())
    if found is None or float(found[1]) == 0.0:
        raise RequestError(f"--memory takes a size such as 8G or 500M, not '{text}'")
    return int(float(found[1]) * _SIZES[found[2]])
