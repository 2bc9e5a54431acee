"""`smol show` and `smol run` of a recipe of scripts: the referee's own work, asked by a recipe."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.commands import places
from harness.commands.planned import read_device, read_scale
from harness.commands.referee import (
    announce,
    budget_of,
    bytes_of,
    carry_on,
    command_of,
    refuse_failed,
)
from harness.errors import RequestError
from harness.launch import terminal
from harness.recipe import Scale
from harness.records.store import check_writable
from harness.referee import answer, arms, formats
from harness.referee.carrying import copies
from harness.referee.planning import Declared, RefereeRequest
from harness.referee.recipe import Scripts, ScriptsEntry
from harness.referee.session import Session

TAKEN = frozenset(
    ("recipe", "scale", "device", "seeds", "results", "dry_run", "fresh", "keep", "as_json")
)
"""Options of `smol run` and `smol show` that mean something to a script."""


def session_of(entry: ScriptsEntry, options: Any, results: Path) -> Session:
    """The referee's session for a recipe; starts nothing.

    Raises RequestError for an option that is for arms of ours, and for what may not be asked.
    """
    _refuse_others(entry, options)
    scale = read_scale(options.scale)
    built = entry.scripts(scale)
    work = places.checkpoints_folder(results) / ".referee"
    request = _request(entry, built, scale, options, results, work)
    beside = entry.folders[0]
    given = {
        arm: (script.place, _own_command(entry.name, arm, script.command))
        for arm, script in built.arms.items()
    }
    taken = arms.declared(
        given, copies(work, request.name), beside=beside, shared=built.share, ours=(results, work)
    )
    arms.refuse_missing_share(built.share, taken[0].place)
    return Session(request, taken, terminal.say)


def _own_command(recipe: str, arm: str, command: str | None) -> tuple[str, ...]:
    return () if command is None else command_of(command, f"recipe '{recipe}', arm '{arm}'")


def _refuse_others(entry: ScriptsEntry, options: Any) -> None:
    for one in fields(options):
        value = getattr(options, one.name)
        default = one.default_factory() if callable(one.default_factory) else one.default
        if one.name not in TAKEN and value != default:
            option = {"sets": "set", "start": "from", "arms": "arm"}.get(one.name, one.name)
            raise RequestError(
                f"--{option.replace('_', '-')} is for arms of ours; recipe '{entry.name}' compares "
                "scripts"
            )


def _request(
    entry: ScriptsEntry, built: Scripts, scale: Scale, options: Any, results: Path, work: Path
) -> RefereeRequest:
    seeds = options.seeds if options.seeds is not None else entry.seeds[scale]
    if seeds < 2:
        raise RequestError(f"--seeds {seeds}: scripts are judged over two pairs at least")
    return RefereeRequest(
        name=f"{entry.name}.{scale}", seeds=seeds, first_seed=entry.first_seed,
        budget=budget_of(built.budget), command=command_of(built.command, "command"),
        format=formats.named(built.format), metric=built.metric, way=built.better,
        frozen=tuple(built.frozen), equal=tuple(built.equal), shared=tuple(built.share),
        noise_floor=built.noise_floor, device=read_device(options.device),
        memory_limit=bytes_of(built.memory), results=results, work=work,
        recipe=Declared(entry.name, scale, entry.summary, entry.seeds[scale]), again=built.again,
        fresh=getattr(options, "fresh", False),
    )  # fmt: skip


def show(entry: ScriptsEntry, options: Any) -> None:
    """Print the plan: arms, digests, what they differ in, runs, cost. Starts nothing."""
    results = places.results_folder(read_scale(options.scale), options.results)
    session = session_of(entry, options, results)
    if options.as_json:
        print(json.dumps(_facts(session)))
        return
    asked = session.asked
    terminal.say(f"{entry.name} at {asked.scale} on {asked.device_class}")
    terminal.say(entry.summary, "  ")
    names = ", ".join(f"{arm.name} against {asked.arms[0].name}" for arm in asked.arms[1:])
    terminal.say(f"question: {asked.metric or 'the metric that is reported'}: {names}", "  ")
    terminal.say(f"seeds: {asked.seeds} (frozen: {asked.recipe_seeds})", "  ")
    terminal.say(f"read as: {asked.format}; a run is ended after {_limits(session)}", "  ")
    if asked.frozen:
        terminal.say(f"equal in all arms: {', '.join(asked.frozen)}", "  ")
    for arm, told in zip(session.arms, asked.arms, strict=True):
        terminal.say(f"arm {arm.name}")
        terminal.say(f"files: {len(arm.files)}, digest {arm.digest}, {arm.origin}", "  ")
        terminal.say(f"command: {told.command}", "  ")
        if arm is not session.arms[0]:
            changed = ", ".join(arm.differences(session.arms[0].files)) or "no file"
            terminal.say(f"differs from {session.arms[0].name} in: {changed}", "  ")
    announce(session, terminal.say)
    missing = len(session.missing())
    terminal.say(
        f"{len(asked.slots) - missing} of {len(asked.slots)} runs are finished and {missing} "
        "missing; nothing was started"
    )


def _limits(session: Session) -> str:
    """The limits of a run."""
    memory = session.request.memory_limit
    more = f" or beyond {memory / 2**30:.3g} GiB" if memory else ""
    return f"{session.request.budget:g} s{more}"


def _facts(session: Session) -> dict[str, Any]:
    missing = {slot.key for slot in session.missing()}
    runs = [{**slot.model_dump(), "missing": slot.key in missing} for slot in session.asked.slots]
    return {
        **session.asked.model_dump(mode="json", exclude={"slots", "schema_version"}),
        "runs": runs,
        "outdated": session.case.outdated(),
        "cost": session.cost(),
    }


def run(entry: ScriptsEntry, options: Any) -> None:
    """Run what is missing, judge, write page and card. Raises RunFailed where a run failed."""
    from harness.report import card

    if options.dry_run:
        show(entry, options)
        return
    results = places.results_folder(read_scale(options.scale), options.results)
    check_writable(results)
    with contextlib.redirect_stdout(sys.stderr) if options.as_json else contextlib.nullcontext():
        session = session_of(entry, options, results)
        announce(session, terminal.say)
        outcome, written = carry_on(session, terminal.say)
        places.remember(results)
        card.regenerate(results)
    if options.as_json:
        print(json.dumps({**answer.as_object(outcome), "card": str(results / card.CARD)}))
    else:
        for line in answer.as_lines(outcome):
            terminal.say(line)
        terminal.say(str(written), "page:    ")
        terminal.say(str(results / card.CARD), "card:    ")
    refuse_failed(outcome)


def compare(results: Sequence[Path], first: str, second: str, as_json: bool) -> bool | None:
    """Say what is known of two arms of a recipe of scripts: whether they could be compared; None
    where the names are not of such arms.

    Raises RequestError where the first is not the baseline.
    """
    from harness.referee import case

    (one, _, a), (other, _, b) = first.rpartition("/"), second.rpartition("/")
    for found in (c for folder in results for c in case.read(folder)):
        names = [arm.name for arm in found.asked.arms]
        mine = {found.asked.name, found.asked.recipe}
        if not {one, other} <= mine or a not in names or b not in names:
            continue
        if a != names[0] or b == a:
            raise RequestError(
                f"'{found.asked.name}' was asked of {', '.join(names[1:])} against {names[0]}: "
                f"smol compare {one}/{names[0]} {one}/{names[1]}"
            )
        outcome = found.outcome()
        judged = outcome.judgements[b]
        if as_json:
            facts = answer.as_object(outcome)["candidates"]
            print(json.dumps([c for c in facts if c["arm"] == b], indent=1))
        else:
            terminal.say(f"{second} against {first}: {answer.sentence(outcome, judged)}")
        return judged.verdict.kind != "not comparable"
    return None
