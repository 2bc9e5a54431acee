"""`smol data croissant`: a prepared folder's description in MLCommons' Croissant format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.data import checked, croissant
from harness.data.adopted import open_folder


@dataclass(frozen=True)
class Options:
    """Describe a prepared folder as data hubs read it.

    Printed is MLCommons' Croissant (JSON-LD), which names every file with its digest and every
    column. The folder is left as it is.
    """

    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A prepared folder, ours or any that `datasets` saved."),
    ]


def data_croissant(options: Options) -> None:
    """Print it as JSON. Raises RequestError for what is no prepared folder, or a damaged one."""
    prepared = open_folder(options.folder)
    checked.check(prepared)
    print(json.dumps(croissant.describe(prepared), indent=2))
