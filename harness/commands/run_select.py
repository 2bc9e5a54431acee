"""Which runs of a plan `smol run` starts: what is missing, and what that needs first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.commands import places
from harness.commands.planned import this_code
from harness.commands.request import Request
from harness.config import canonical
from harness.data.prepare import Prepared
from harness.errors import CheckFailed, RequestError, nearest
from harness.launch import terminal
from harness.launch.protocol import RunFiles, run_folder
from harness.plan import backlog as backlogs
from harness.plan.runs import Plan, Run
from harness.records.schema import Record
from harness.train import seal


def select(
    plan: Plan, records: Sequence[Record], prepared: Mapping[str, Prepared], request: Request
) -> list[Run]:
    """The runs to start, parents before children. Raises CheckFailed where finished runs are
    outdated and nobody said what to do with them, RequestError for an unknown stage."""
    current = this_code(lambda data: prepared[canonical(data)].manifest.digest)
    backlog = backlogs.sort(plan, records, current)
    if backlog.unasked:
        seeds = ", ".join(map(str, sorted({run.seed for run in backlog.unasked})))
        when = "yet" if backlog.missing else "any more"
        terminal.note(f"a sequential design: of seeds {seeds} it asks for nothing {when}")
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
            todo = [run for run in plan.runs if run not in backlog.unasked]
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
