"""`smol card`: the model card and its figures, from the records. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from harness.commands import places
from harness.commands.options import JsonOption, ReadResultsOption
from harness.errors import CheckFailed, RequestError
from harness.launch import terminal
from harness.records import evaluation, foreign, store


@dataclass(frozen=True)
class Options:
    """Write the model card and its figures from the records."""

    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Change nothing; exit 1 with the difference if the card is stale."
        ),
    ] = False
    results: ReadResultsOption = None
    as_json: JsonOption = False


def card(options: Options) -> None:
    """Write the card and its figures, or compare them with the records.

    Raises CheckFailed, after printing the difference, where they do not agree, and RequestError
    where there is nothing to make a card of.
    """
    from harness.report import card as cards

    folder = places.existing_results(options.results)
    path = folder / cards.CARD
    if options.check:
        stale = cards.check(folder)
        if options.as_json:
            print(json.dumps({"card": str(path), "agrees": not stale, "difference": stale}))
        else:
            terminal.lines(stale or f"{path} agrees with its records")
        if stale:
            raise CheckFailed(f"{path} does not agree with the records; `smol card` regenerates it")
        return
    store.check_writable(folder)
    if not any(
        (folder / kind).is_dir() for kind in (store.FOLDER, evaluation.FOLDER, foreign.FOLDER)
    ):
        raise RequestError(f"nothing has been measured in '{folder}' yet: `smol run` does")
    written = cards.regenerate(folder)
    if options.as_json:
        print(json.dumps({"card": str(path), "written": [str(one) for one in written]}))
        return
    for one in written or [path]:
        terminal.lines(str(one) if written else f"{one} is up to date")
