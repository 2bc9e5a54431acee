"""What `smol run` asks for: its options, read, checked and resolved once. Nothing is started."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands import places, run_data
from harness.commands import start as starts
from harness.commands.options import (
    AddressOption,
    ConfigOption,
    DeviceOption,
    JsonOption,
    LauncherOption,
    ProcessesOption,
    RecipeName,
    ResultsOption,
    ScaleOption,
    SeedsOption,
    SetOption,
    TrackOption,
)
from harness.commands.planned import (
    device_profile,
    evidence,
    read_device,
    read_overrides,
    read_scale,
)
from harness.commands.start import Given
from harness.errors import RequestError, nearest
from harness.launch import launchers
from harness.launch.base import Launcher
from harness.launch.trackers import named
from harness.launch.tracking import Tracker
from harness.machine import devices
from harness.plan import stages
from harness.plan.resolved import Resolved, resolve
from harness.plan.runs import Run
from harness.recipe import Entry, Scale, Stage, find
from harness.records import store
from harness.records.schema import Record


@dataclass(frozen=True)
class Options:
    """Run a recipe and say which arm is better.

    What is finished is skipped, and what was interrupted goes on, so the same command may be
    given again at any time.
    """

    recipe: RecipeName
    scale: ScaleOption = "smoke"
    device: DeviceOption = "auto"
    seeds: SeedsOption = None
    sets: SetOption = field(default_factory=list)
    config: ConfigOption = None
    arms: Annotated[
        list[str],
        typer.Option(
            "--arm",
            metavar="ARM",
            show_default=False,
            help="Run this arm alone, with the runs that it needs. May be repeated.",
        ),
    ] = field(default_factory=list)
    stage: Annotated[
        str | None,
        typer.Option("--stage", help="Run this stage alone, with the stages that it needs."),
    ] = None
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="The model that the first stage, or --stage, starts from: smollm2, a run, a "
            "checkpoint, or transformers' folder.",
        ),
    ] = None
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="[STAGE=]DIR",
            show_default=False,
            help="A prepared folder instead of the recipe's data: ours, or any that `datasets` "
            "saved with input_ids (and labels) of one length. It is for --stage, else for the "
            "first stage.",
        ),
    ] = field(default_factory=list)
    text: Annotated[
        list[Path],
        typer.Option(
            "--text",
            metavar="FILE",
            show_default=False,
            help="Text of your own instead of the recipe's: a .txt, .jsonl, .json, .csv or "
            ".parquet file, or a folder of them. May be repeated. Few documents are cut "
            "into spans.",
        ),
    ] = field(default_factory=list)
    repeat_data: Annotated[
        bool,
        typer.Option(
            "--repeat-data",
            help="Train at full scale even where data is read more than four times over.",
        ),
    ] = False
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            help="What a --data folder without a tokenizer was tokenized with: smollm2, or a "
            "folder.",
        ),
    ] = None
    results: ResultsOption = None
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, metavar="N", help="How many runs at a time. Default: cores / threads."
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and start nothing.")
    ] = False
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run again what other code or data has made.")
    ] = False
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave what other code or data has made as it is.")
    ] = False
    as_json: JsonOption = False
    launcher: LauncherOption = "local"
    processes: ProcessesOption = 1
    address: AddressOption = None
    track: TrackOption = None


@dataclass(frozen=True)
class Beforehand:
    """What another command froze before the first run: the recipe as it was frozen, and the words
    that freeze it so again."""

    entry: Entry
    words: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """What the user asked for, read and checked."""

    options: Options
    scale: Scale
    device: str
    results: Path
    overrides: Mapping[str, Any]
    launcher: Launcher
    given: Given | None = None
    """The model that the first stage (or `stage`) starts from."""
    trackers: Sequence[type[Tracker]] = ()
    only: Callable[[Run], bool] | None = None
    """Says which of the runs that are to do are wanted now; None is all."""
    beforehand: Beforehand | None = None
    """Where the recipe is not the registered one."""

    @property
    def asked(self) -> dict[str, Any]:
        """What sets this request's records apart from the recipe's own."""
        given = {"--from": self.given.name} if self.given else {}
        return {**self.overrides, **given}


@dataclass(frozen=True)
class Asked:
    """What a request comes to before any data is there."""

    resolved: Resolved
    records: Sequence[Record]
    """All of the results folder."""
    stages: Sequence[Stage]
    first: str | None
    """The stage at which it begins."""
    folders: Mapping[str | None, Path]
    """`--data`, by stage."""


def ask(request: Request) -> Asked:
    """The recipe, built and resolved, and what the results folder holds.

    Raises RequestError for a recipe, an arm, a stage or a field that is not there.
    """
    from harness.report import cells

    options, device = request.options, devices.of(request.device)
    records = store.read_all(request.results)
    cells.refuse_edited(request.results)
    entry = request.beforehand.entry if request.beforehand else find(options.recipe)
    resolved = resolve(
        entry, request.scale, request.overrides, device_profile(request.device),
        evidence(records, request.scale, device.product(), request.device),
    )  # fmt: skip
    arms = [arm.name for arm in resolved.arms]
    for name in options.arms:
        if name not in arms:
            raise RequestError(f"no arm '{name}'{nearest(name, arms)}")
    given = options.start is not None
    taken, first = stages.chosen(resolved.recipe.stages, options.stage, given)
    folders = run_data.read_folders(options.data, taken, options.stage)
    return Asked(resolved, records, taken, first, folders)


def read(
    options: Options,
    only: Callable[[Run], bool] | None,
    beforehand: Beforehand | None = None,
) -> Request:
    """Raises RequestError for words that are none, or that exclude each other."""
    if options.fresh and options.keep:
        raise RequestError("--fresh and --keep exclude each other")
    if options.tokenizer is not None and not options.data:
        raise RequestError("--tokenizer goes with --data: the recipe's data has its own")
    scale = read_scale(options.scale)
    if options.arms and only is None:
        only = lambda run: run.arm in options.arms  # noqa: E731
    request = Request(
        options, scale, read_device(options.device), places.results_folder(scale, options.results),
        read_overrides(options.config, options.sets)
        | run_data.own_text(options.text, options.data),
        launchers.find(options.launcher, options.processes, options.address), only=only,
        beforehand=beforehand,
        trackers=named(options.track) if options.track is not None else (),
    )  # fmt: skip
    if options.start is None or options.dry_run:
        return request
    given = starts.find(options.start, scale=scale, results=request.results)
    return dataclasses.replace(request, given=given)
