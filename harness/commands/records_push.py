"""`smol records push`: curves of records, to the trackers of `smol run --track`. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import complete, places
from harness.commands.options import ReadResultsOption
from harness.errors import CheckFailed, RequestError, nearest
from harness.records.schema import Record

if TYPE_CHECKING:
    from harness.launch.tracking import Tracker


@dataclass(frozen=True)
class Options:
    """Send the curves of finished runs to a tracker.

    Runs are grouped by recipe, arm and seed. One that is there already is replaced or continued,
    never doubled.
    """

    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="[RECIPE]...", show_default=False, autocompletion=complete.recipes,
            help="Of these recipes alone.",
        ),
    ] = field(default_factory=list)  # fmt: skip
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="TRACKER,...", show_default=False,
            help="Where to: tensorboard, trackio, wandb.",
        ),
    ] = ""  # fmt: skip
    results: ReadResultsOption = None


def records_push(options: Options) -> None:
    """Send them, one tracker after the other.

    Raises RequestError for a tracker that is not known or not installed, for a recipe that has no
    records; CheckFailed where a tracker does not take them.
    """
    from harness.evidence import query
    from harness.launch.trackers import named
    from harness.records import store

    if not options.to:
        raise RequestError("say where to: --to tensorboard, trackio or wandb")
    chosen = named(options.to)
    for tracker in chosen:
        if (why := tracker.missing()) is not None:
            raise RequestError(why)
    results = places.existing_results(options.results)
    records = query.attempts(store.read_all(results))
    known = {record.recipe for record in records}
    for name in options.recipes:
        if name not in known:
            raise RequestError(
                f"no records of a recipe '{name}' in {results}{nearest(name, known)}"
            )
    wanted = [r for r in records if not options.recipes or r.recipe in options.recipes]
    if not any(record.training or record.validation for record in wanted):
        raise RequestError(f"no run in {results} has left a curve")
    for tracker in chosen:
        folder = places.trackers_folder(results) / tracker.name
        try:
            sent = sum(_send(tracker(folder), wanted))
        except Exception as error:  # whatever a library or a service says
            raise CheckFailed(f"{tracker.name} did not take the runs: {error}") from error
        print(f"{tracker.name}: {sent} runs")
        print(f"  {tracker.look.format(folder=_near(folder))}")


def _send(tracker: Tracker, records: Sequence[Record]) -> Iterator[int]:
    from harness.launch import tracking

    for record in records:
        points = tracking.of_record(record)
        if points:
            run = tracking.Tracked.of(record)
            tracker.open(run, 0)
            tracker.log(run, points)
            tracker.close(run, record.status)
            yield 1
    tracker.finish()


def _near(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
