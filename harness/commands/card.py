"""`smol card`: the model card and its figures, from the records. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from harness.commands import places
from harness.commands.options import ResultsOption
from harness.errors import CheckFailed
from harness.records import store


@dataclass(frozen=True)
class Options:
    """Write the model card and its figures from the records."""

    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Change nothing; exit 1 with the difference if the card is stale."
        ),
    ] = False
    results: ResultsOption = None


def card(options: Options) -> None:
    """Write the card and its figures, or compare them with the records.

    Raises CheckFailed, after printing the difference, where they do not agree.
    """
    from harness.report import card as cards

    folder = places.existing_results(None, options.results)
    if options.check:
        stale = cards.check(folder)
        if stale:
            print(stale)
            raise CheckFailed(f"{folder / 'MODEL_CARD.md'} does not agree with the records; "
                              f"`smol card` regenerates it")  # fmt: skip
        print(f"{folder / 'MODEL_CARD.md'} agrees with its records")
        return
    store.check_writable(folder)
    written = cards.regenerate(folder)
    for path in written or [folder / "MODEL_CARD.md"]:
        print(path if written else f"{path} is up to date")
