"""`smol trace`: from a cell of the card back to its runs. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from harness.commands import places
from harness.commands.options import ResultsOption


@dataclass(frozen=True)
class Options:
    """Say which runs a number of the card comes from.

    Prints the records, how their configuration differs from the base, and the command that
    reproduces them.
    """

    cell: Annotated[
        str,
        typer.Argument(
            metavar="CELL", show_default=False, help="view/row/column, as the card names its cells."
        ),
    ]
    results: ResultsOption = None


def trace(options: Options) -> None:
    """Print where a cell of the card comes from. Raises RequestError for an unknown cell."""
    from harness.report.trace import trace as follow

    print(follow(places.existing_results(None, options.results), options.cell))
