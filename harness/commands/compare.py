"""`smol compare`: two arms or two records side by side, with the verdict. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from harness.commands import complete, places, run_scripts
from harness.commands.options import JsonOption, ReadResultsOption, SetOption
from harness.commands.planned import parse_overrides, read_scale
from harness.errors import CheckFailed
from harness.launch import terminal
from harness.records import store
from harness.records.schema import Record

WAYS = {
    "val_loss": "second less first, below 0 the second is better",
    "bits_per_byte": "second less first, below 0 the second is better",
    "tokens_per_second": "second over first, above 1 the second is faster",
}
"""How to read `smol compare`, by metric."""

ARM = "An arm (recipe/arm), or a record's key."


@dataclass(frozen=True)
class Options:
    """Compare two arms, or two records, with a verdict.

    Exit code 1 where no verdict can be given.
    """

    first: Annotated[
        str,
        typer.Argument(
            metavar="A", show_default=False, help=ARM, autocompletion=complete.measured_arms
        ),
    ]
    second: Annotated[
        str,
        typer.Argument(
            metavar="B", show_default=False, help=ARM, autocompletion=complete.measured_arms
        ),
    ]
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="val_loss, bits_per_byte or tokens_per_second. Default: the recipe's question.",
        ),
    ] = None
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            autocompletion=complete.scales,
            help="The scale at which the arms were run. Default: the one that was run last.",
        ),
    ] = None
    sets: SetOption = field(default_factory=list)
    results: ReadResultsOption = None
    as_json: JsonOption = False


def compare(options: Options) -> None:
    """Print two arms' or two records' difference at each horizon, or their ratio of rates.

    Raises CheckFailed where at no horizon a verdict can be given.
    """
    from harness.evidence.sections import sections
    from harness.report.compare import choose, of_keys, of_section
    from harness.report.sentence import sentence
    from harness.report.table import escape

    first, second, metric = options.first, options.second, options.metric
    of_scripts = run_scripts.compare(
        places.candidates(options.results), first, second, options.as_json
    )
    if of_scripts is not None:
        if not of_scripts:
            raise CheckFailed("nothing here allows a verdict; the reason stands beside it")
        return
    folders = [_records(folder) for folder in places.candidates(options.results)]
    found = of_keys([record for records in folders for record in records], first, second, metric)
    where, verdicts = "", []
    if found is None:
        every = [section for records in folders for section in sections(records)]
        scale = read_scale(options.scale) if options.scale else None
        sets = parse_overrides(options.sets) or None
        section, a, b = choose(every, first, second, scale, sets)
        found = of_section(section, a, b, metric)
        where = f" ({escape(section.title)})"  # it quotes what records say was asked for
        verdicts = [sentence(section, a, b, one) for one in found if one.comparable]
    if options.as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        name = found[0].metric
        terminal.say(f"{second} against {first}{where}, {name}: {WAYS[name]}")
        for one in found:
            terminal.say(one.text, "  ", "    ")
        for text in verdicts:
            terminal.say(text)
    if not any(one.comparable for one in found):
        raise CheckFailed("nothing here allows a verdict; the reasons stand beside each line")


def _records(folder: Path) -> list[Record]:
    """Of one results folder. Raises RequestError for one that contradicts itself."""
    records = store.read_all(folder)
    for record in records:
        store.refuse_implausible(store.path_of(record), record)
    return records
