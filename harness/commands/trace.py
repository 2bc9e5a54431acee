"""`smol trace`: from a cell of the card back to its runs. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import places
from harness.commands.complete import cells
from harness.commands.options import JsonOption, ReadResultsOption
from harness.launch import terminal

if TYPE_CHECKING:
    from harness.report.trace import Tracer


@dataclass(frozen=True)
class Options:
    """Say which runs a number of the card comes from.

    Prints the records, how their configuration differs from the base, and the command that
    reproduces them.
    """

    cell: Annotated[
        str,
        typer.Argument(
            metavar="CELL", show_default=False, autocompletion=cells,
            help="view/row/column, as the card names its cells.",
        ),
    ]  # fmt: skip
    results: ReadResultsOption = None
    as_json: JsonOption = False


def trace(options: Options) -> None:
    """Print where a cell of the card comes from. Raises RequestError for an unknown cell."""
    if (run := _of_script(options)) is not None:
        print(json.dumps({"address": options.cell, "text": run}) if options.as_json else run)
        return
    tracer = _tracer(options)
    if options.as_json:
        print(json.dumps(tracer.facts(options.cell), indent=1))
    else:
        _print(tracer.trace(options.cell))


def _print(told: str) -> None:
    """Lines that fit the terminal, commands so that they can be copied."""
    from harness.report.trace import REPRODUCE

    for line in told.split("\n"):
        if line.startswith(REPRODUCE):
            print(REPRODUCE + terminal.command(line.removeprefix(REPRODUCE), len(REPRODUCE)))
        else:
            terminal.lines(line)


def _of_script(options: Options) -> str | None:
    """What a run of somebody's script was, where the cell is NAME/ARM/SEED; else None."""
    from harness.records import foreign
    from harness.referee import tracing

    for folder in places.candidates(options.results):
        if options.cell.partition("/")[0] in foreign.names(folder):
            return tracing.trace(folder, options.cell)
    return None


def _tracer(options: Options) -> Tracer:
    """Of the first folder whose card has the cell's view; else of the first."""
    from harness.report.trace import Tracer

    folders = places.candidates(options.results)
    for folder in folders:
        tracer = Tracer(folder)
        if tracer.knows(options.cell):
            return tracer
    return Tracer(folders[0])
