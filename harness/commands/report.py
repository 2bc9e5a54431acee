"""`smol report`: the card's cells as one HTML file that opens anywhere. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.commands import places
from harness.commands.options import JsonOption, ReadResultsOption
from harness.errors import RequestError
from harness.records.untrusted import without_controls

FILE = "report.html"


@dataclass(frozen=True)
class Options:
    """Write the results as one HTML page that needs no network.

    Verdicts, figures, tables, and behind each number its runs.
    """

    results: ReadResultsOption = None
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file. Default: report.html in the folder."),
    ] = None
    as_json: JsonOption = False


def report(options: Options) -> None:
    """Write the page. Raises RequestError for a broken records folder or a place that cannot be
    written."""
    from harness.files import write_atomically
    from harness.html import build

    folder = places.existing_results(options.results)
    out = options.out or folder / FILE
    if out.is_dir():
        raise RequestError(f"--out {out} is a folder: name a file, such as {out / FILE}")
    text = build.report(folder, beside=out.resolve().parent == folder.resolve())
    try:
        write_atomically(out, text)
    except OSError as error:
        raise RequestError(f"{out} cannot be written: {error.strerror}") from None
    size = len(text.encode())
    if options.as_json:
        print(json.dumps({"report": str(out), "bytes": size}))
    else:
        where = without_controls(str(out), kept="")
        print(f"{where}  {size / 1e6:.2f} MB; open it in a browser")
