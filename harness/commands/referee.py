"""`smol referee`: other people's training scripts as arms, judged in pairs. No torch."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from harness.commands import places
from harness.errors import CheckFailed, RequestError, RunFailed
from harness.machine import hardware
from harness.plan.campaign import seconds_of
from harness.records.store import check_writable
from harness.referee import answer, arms, formats, page, tracing
from harness.referee.carrying import copies
from harness.referee.planning import Request
from harness.referee.session import Outcome, Session

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def referee(
    given: Sequence[str],
    *,
    name: str | None,
    seeds: int,
    first_seed: int,
    budget: str,
    command: str,
    format_: str,
    metric: str | None,
    lower: bool | None,
    frozen: Sequence[str],
    equal: Sequence[str],
    share: Sequence[str],
    noise_floor: int,
    memory: str | None,
    device: str,
    again: bool,
    retry: bool,
    fresh: bool,
    dry_run: bool,
    results: Path | None,
    as_json: bool,
) -> None:
    """Run what is missing, judge, print; see the door for the options.

    Raises CheckFailed where no candidate is better, RunFailed where a run failed, RequestError
    for what cannot be asked.
    """
    folder = places.results_folder(None, results)
    check_writable(folder)
    if not given:
        raise RequestError("smol referee BASELINE CANDIDATE...: folders, or git's PATH@REV")
    if len(given) == 1 and not noise_floor:
        raise RequestError("one arm alone: name a CANDIDATE, or --noise-floor N")
    work = places.checkpoints_folder(folder) / ".referee"
    called = _name(name, arms.named(given)[0][0])
    taken = arms.take(given, copies(work, called), shared=share, ours=(folder, work))
    arms.refuse_missing_share(share, taken[0].place)
    request = Request(
        name=called, seeds=seeds, first_seed=first_seed,
        budget=_seconds(budget), command=_command(command), format=formats.named(format_),
        metric=metric, way=None if lower is None else "lower" if lower else "higher",
        frozen=tuple(frozen), equal=tuple(equal), shared=tuple(share), noise_floor=noise_floor,
        device=_device(device), memory_limit=_bytes(memory), results=folder, work=work,
        again=again, retry=retry, fresh=fresh, dry_run=dry_run,
    )  # fmt: skip
    _judge(request, taken, as_json)


def _judge(request: Request, taken: list[arms.Arm], as_json: bool) -> None:
    def say(text: str) -> None:
        print(text, file=sys.stderr if as_json else sys.stdout, flush=True)

    session = Session(request, taken, say)
    for line in session.outdated():
        say(f"outdated: {line}")
    if session.missing():
        say(f"{request.name}: {session.cost()}; {session.seen()}")
    if request.dry_run:
        if as_json:
            print(json.dumps(answer.as_object(session.outcome()), ensure_ascii=False))
        return
    if session.missing():
        _spend(session)
    else:
        say(f"{request.name}: nothing to do, every run is there")
    _report(session.outcome(), as_json, say)


def _spend(session: Session) -> None:
    """SIGTERM ends the run that goes on, too, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        session.spend()
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(outcome: Outcome, as_json: bool, say: Any) -> None:
    written = page.write(outcome)
    if as_json:
        print(json.dumps(answer.as_object(outcome), ensure_ascii=False), flush=True)
    else:
        print("\n".join(answer.as_lines(outcome)))
    say(f"page: {written}")
    failed = [f"{arm} seed {r.seed}: {why}" for arm, f in outcome.faults.items() for r, why in f]
    if failed:
        raise RunFailed(f"{len(failed)} of the runs failed; {failed[0]}")
    if outcome.judgements and outcome.exit_code():
        raise CheckFailed("no candidate is better than the baseline, as far as these pairs tell")


def trace(cell: str, *, results: Path | None) -> None:
    """Print what a run was, and how its files differ from the baseline's."""
    print(tracing.trace(places.existing_results(None, results), cell))


def _name(asked: str | None, baseline: str) -> str:
    """A comparison is called by its baseline's folder, whatever the revision."""
    name = asked if asked is not None else baseline.partition("@")[0] or baseline
    if not re.fullmatch(r"\w[\w.+=@,-]*", name, re.ASCII):
        raise RequestError(f"--name '{name}': only letters, digits and . _ + = @ , -")
    return name


def _command(text: str) -> tuple[str, ...]:
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise RequestError(f"--command: {error}") from None
    if not parts:
        raise RequestError("--command is empty")
    if "/" not in parts[0] and shutil.which(parts[0]) is None:
        raise RequestError(f"--command: no program '{parts[0]}' on the path")
    return tuple(parts)


def _seconds(text: str) -> float:
    seconds = seconds_of(text)
    if seconds <= 0.0:
        raise RequestError(f"--budget {text}: a run needs some time")
    return seconds


def _device(text: str) -> Literal["cpu", "cuda"]:
    if text == "auto":
        return "cuda" if hardware.has_gpu() else "cpu"
    if text == "cpu":
        return "cpu"
    if text == "cuda":
        if not hardware.has_gpu():
            raise RequestError("--device cuda: no NVIDIA driver answers on this machine")
        return "cuda"
    raise RequestError(f"--device takes auto, cpu or cuda, not '{text}'")


def _bytes(text: str | None) -> int | None:
    """`8G`; None gives nine tenths of the machine's memory, where that is known."""
    if text is None:
        return int(0.9 * hardware.memory_bytes()) or None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)B?", text.strip().upper())
    if found is None or float(found[1]) == 0.0:
        raise RequestError(f"--memory takes a size such as 8G or 500M, not '{text}'")
    return int(float(found[1]) * _SIZES[found[2]])
