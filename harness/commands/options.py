"""Arguments and options that several commands share. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands import complete

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        show_default=False,
        autocompletion=complete.recipes,
        help="A recipe's name; `smol list` prints them.",
    ),
]
ScaleOption = Annotated[
    str,
    typer.Option(
        "--scale", autocompletion=complete.scales,
        help="How big the recipe is run: smoke, proxy or full.",
    ),
]  # fmt: skip
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", autocompletion=complete.devices,
        help="The device to compute on: auto, cpu or cuda.",
    ),
]  # fmt: skip
ShowDeviceOption = Annotated[
    str,
    typer.Option(
        "--device", autocompletion=complete.devices,
        help="The device to plan for: auto, cpu, cuda, or one that is not here, such as h100 or "
        "rtx-4090.",
    ),
]  # fmt: skip
SeedsOption = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        help="How many seeds to run. Another number than the recipe's marks the result "
        "exploratory.",
    ),
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        show_default=False,
        help="Set a field for every arm, such as optim.muon_lr=0.02. May be repeated.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Set the fields of a TOML file, as --set does. --set goes before it.",
    ),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--results", help="The results folder. Default: ./results, and ./results/smoke at smoke."
    ),
]
ReadResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--results",
        help="The results folder. Default: ./results if it has records, else where the last run "
        "has written.",
    ),
]
LauncherOption = Annotated[
    str,
    typer.Option(
        "--launcher",
        metavar="NAME|FILE.py:OBJECT",
        help="What starts the runs: local, torchrun (several processes a run), ray (the nodes of a "
        "cluster), or your own.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="The Ray cluster of --launcher ray, such as 10.0.0.1:6379, or auto for the one that "
        "this machine is in. Default: one of this machine alone.",
    ),
]
ProcessesOption = Annotated[
    int,
    typer.Option("--processes", min=1, help="How many processes share each run's updates."),
]
TrackOption = Annotated[
    str | None,
    typer.Option(
        "--track",
        metavar="NAME,...",
        help="Show the curves in other tools too, while runs go on: tensorboard, trackio, wandb.",
    ),
]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A model: smollm2, a run (recipe/arm/seed/stage or a key), a checkpoint, or a folder.",
    ),
]
ModelScale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        autocompletion=complete.scales,
        help="The scale of the run, if the run's name alone is ambiguous.",
    ),
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option(
        "--tokenizer", help="Use the tokenizer.json of this folder instead of the model's own."
    ),
]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype", help="Compute in bf16 or fp32. Default: the precision it was trained in."
    ),
]
PromptOption = Annotated[str, typer.Option("--prompt", help="The text to continue.")]
TemperatureOption = Annotated[
    float,
    typer.Option(
        "--temperature", help="How random sampling is; 0 always takes the most likely token."
    ),
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", help="Sample from the k most likely tokens only.")
]
TopPOption = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        help="Sample from the smallest set of tokens whose probabilities sum to p.",
    ),
]
SampleSeedOption = Annotated[int, typer.Option("--seed", help="The random seed for sampling.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs to read.")]
OutOption = Annotated[Path, typer.Option("--out", help="The folder to make.", show_default=False)]
SourceOption = Annotated[
    str,
    typer.Option("--source", help="Where data comes from: hub, or embedded, which needs no Hub."),
]
DataTokenizerOption = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        help="smollm2, or a folder with a tokenizer. Default: smollm2 from the Hub; for embedded "
        "data one that is fitted on its text.",
    ),
]
SeqLenOption = Annotated[
    int, typer.Option("--seq-len", min=2, metavar="N", help="Tokens in a sequence.")
]
DataSeedOption = Annotated[
    int,
    typer.Option(
        "--seed", min=0, metavar="N", help="The random seed of the split and of the order."
    ),
]
