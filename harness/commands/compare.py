"""`smol compare`: two arms or two records side by side, with the verdict. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from harness.commands import places
from harness.commands.options import JsonOption, ResultsOption, ScaleOption
from harness.errors import CheckFailed
from harness.records import store

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

    first: Annotated[str, typer.Argument(metavar="A", show_default=False, help=ARM)]
    second: Annotated[str, typer.Argument(metavar="B", show_default=False, help=ARM)]
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="val_loss, bits_per_byte or tokens_per_second. Default: the recipe's question.",
        ),
    ] = None
    scale: ScaleOption = "smoke"
    results: ResultsOption = None
    as_json: JsonOption = False


def compare(options: Options) -> None:
    """Print two arms' or two records' difference at each horizon, or their ratio of rates.

    Raises CheckFailed where at no horizon a verdict can be given.
    """
    from harness.report.compare import compare as side_by_side

    folder = places.existing_results(options.scale, options.results)
    records = store.read_all(folder)
    for record in records:
        store.refuse_implausible(store.path_of(record), record)
    found = side_by_side(records, options.first, options.second, options.scale, options.metric)
    if options.as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        print(
            f"{options.second} against {options.first}, {found[0].metric}: {WAYS[found[0].metric]}"
        )
        for one in found:
            print(f"  {one.text}")
    if not any(one.comparable for one in found):
        raise CheckFailed("nothing here allows a verdict; the reasons stand beside each line")
