"""`smol launch`: a job for a machine elsewhere, written, checked, and with --go followed."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from harness.commands import places
from harness.errors import RequestError, RunFailed
from harness.files import write_atomically
from harness.launch import templates, terminal
from harness.launch.rented import Follower
from harness.launch.templates import RESULTS, Rental, refuse_secrets
from harness.machine.prices import price_of
from harness.plan import campaign as planning
from harness.records import store

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
LEAST_SECONDS = 600


@dataclass(frozen=True)
class Options:
    """Write a job that spends a budget on a machine elsewhere.

    The provider's own client checks it, and nothing is asked of the provider before --go. The same
    command with --go goes on with what is left of the budget, wherever it was cut off.
    """

    template: Annotated[
        str,
        typer.Argument(metavar="TEMPLATE", show_default=False, help="skypilot, slurm or hf-jobs."),
    ]
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND]",
            help="What `smol` is to do there, behind --, such as -- run dense_vs_moe --scale full. "
            "Default: campaign.",
        ),
    ] = None
    budget: Annotated[
        str, typer.Option("--budget", help="The time to spend, such as 40m or 1h30m.")
    ] = "1h"
    dollars: Annotated[
        float | None,
        typer.Option("--dollars", help="The most to spend, at the price of the --device's hour."),
    ] = None
    device: Annotated[
        str, typer.Option("--device", help="The card, such as h100 or rtx-4090; or cpu.")
    ] = "cpu"
    place: Annotated[
        str | None,
        typer.Option(
            "--place",
            help="skypilot: the cloud, such as aws/us-east-1; slurm: the partition; hf-jobs: the "
            "bucket for the results, OWNER/BUCKET.",
        ),
    ] = None
    name: Annotated[str, typer.Option("--name", help="The job's name.")] = "smol"
    out: Annotated[Path, typer.Option("--out", help="The folder to write to.")] = field(
        default=Path("job")
    )
    go: Annotated[
        bool, typer.Option("--go", help="Start the job, follow it, and bring its records here.")
    ] = False


def launch(options: Options) -> None:
    """Write and check a job; with `go` have it done.

    Raises RequestError where it cannot be, where its client refuses it, or where it would hold a
    credential; RunFailed where the budget ended before the campaign.
    """
    template = templates.find(options.template)
    order = _order(options)
    files = template.files(order)
    refuse_secrets([*files.values(), *order.words, options.place or ""])
    (order.home / RESULTS).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_atomically(order.home / name, text)
    unchecked = template.check(order)
    for name in files:
        terminal.say(str(options.out / name), "written: ")
    terminal.say(unchecked or f"{template.client} accepts it", "checked: " if not unchecked else
                 "NOT checked: ")  # fmt: skip
    terminal.say(_limit(options, order), "budget:  ")
    if not options.go:
        terminal.say("the same command with --go starts it", "next:    ")
        return
    if unchecked:
        raise RequestError(f"{unchecked}: nothing was started")
    ended = Follower(template, order, lambda text: terminal.say(text, "  ")).follow()
    found = store.read_all(order.home / RESULTS)
    terminal.say(f"{len(found)} records in {options.out / RESULTS}", "home:    ")
    if not ended:
        raise RunFailed("the budget has ended before the campaign; a larger --budget goes on")


def _order(options: Options) -> Rental:
    if not NAME.fullmatch(options.name):
        raise RequestError(f"--name takes small letters, digits and dashes, not '{options.name}'")
    words = tuple(options.words or ["campaign"])
    for taken in ("--results", "--budget"):
        if any(word.partition("=")[0] == taken for word in words):
            raise RequestError(f"{taken} behind --: the job says that itself")
    gpu = None if options.device == "cpu" else planning.device_named(options.device).name
    if words[0] in ("run", "campaign") and "--device" not in words:
        words += ("--device", "cuda" if gpu else "cpu")
    seconds = int(_seconds(options, gpu))
    if seconds < LEAST_SECONDS:
        raise RequestError(
            f"a budget of {seconds} s: setting up a machine alone takes minutes; "
            f"{LEAST_SECONDS // 60} minutes at least"
        )
    code = Path.cwd()
    if not (code / "pyproject.toml").is_file() or not (code / "harness").is_dir():
        raise RequestError("smol launch works in a clone of the project: its code goes along")
    home = places.results_folder(None, options.out).resolve()
    return Rental(options.name, code, home, words, seconds, gpu, options.place)


def _seconds(options: Options, gpu: str | None) -> float:
    seconds = planning.seconds_of(options.budget)
    if options.dollars is None:
        return seconds
    price = price_of(gpu) if gpu else None
    if price is None:
        raise RequestError(f"--dollars: no price of '{options.device}' is known; give --budget")
    return min(seconds, options.dollars / price.value * 3600.0)


def _limit(options: Options, order: Rental) -> str:
    money = f", ${options.dollars:.2f}" if options.dollars is not None else ""
    return f"{order.seconds / 60:.0f} minutes{money}, for `smol {shlex.join(order.words)}`"
