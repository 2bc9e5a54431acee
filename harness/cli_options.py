"""Arguments and options that several commands of the door share. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", show_default=False)]
ScaleOption = Annotated[str, typer.Option("--scale", help="smoke, proxy or full.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SeedsOption = Annotated[
    int | None,
    typer.Option("--seeds", help="Another number than the recipe's marks results exploratory."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="field=value for every arm, e.g. optim.muon_lr=0.02. Repeatable."),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option("--results", help="Results folder; ./results, and ./results/smoke at smoke."),
]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="smollm2, a run (recipe/arm/seed/stage or a key), a checkpoint, or a folder.",
    ),
]
ModelScale = Annotated[str | None, typer.Option("--scale", help="Of the run, where it is needed.")]
TokenizerOption = Annotated[
    Path | None,
    typer.Option("--tokenizer", help="A folder with tokenizer.json, instead of the model's own."),
]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype", help="bf16 or fp32; default: as it was trained, or what the device has."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
