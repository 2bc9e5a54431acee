"""`smol launch`: a job for a machine elsewhere, written, checked, and with --go followed."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from harness.commands import DOOR, places
from harness.errors import RequestError, RunFailed, nearest
from harness.files import JSON_BYTES, read_regular, write_atomically
from harness.launch import templates, terminal
from harness.launch.rented import Follower
from harness.launch.templates import RESULTS, Rental, refuse_secrets
from harness.machine.prices import price_of
from harness.plan import campaign as planning
from harness.records import store

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
PLACE = re.compile(r"[A-Za-z0-9*][A-Za-z0-9_*./@:+,-]{0,99}")
"""What providers call their regions, partitions and buckets; it stands in scripts and in YAML."""
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
    follower = Follower(template, order, lambda text: terminal.say(text, "  "))
    with _taken_back(order.home, files):
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
    ended = follower.follow()
    found = store.read_all(order.home / RESULTS)
    terminal.say(f"{len(found)} records in {options.out / RESULTS}", "home:    ")
    if not ended:
        raise RunFailed("the budget has ended before the campaign; a larger --budget goes on")


@contextlib.contextmanager
def _taken_back(home: Path, names: Iterable[str]) -> Iterator[None]:
    """Where anything is raised inside, a job's folder is again as it was: its files of those names,
    and no folder that was made for it."""
    before = {
        home / name: read_regular(home / name, JSON_BYTES) if (home / name).exists() else None
        for name in names
    }
    made = [place for place in (home / RESULTS, home, *home.parents) if not os.path.lexists(place)]
    try:
        yield
    except BaseException:
        for file, content in before.items():
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True) if content is None else write_atomically(file, content)
        for place in made:
            with contextlib.suppress(OSError):  # what the client left in it
                place.rmdir()
        raise


def _order(options: Options) -> Rental:
    if not NAME.fullmatch(options.name):
        raise RequestError(f"--name takes small letters, digits and dashes, not '{options.name}'")
    if options.place is not None and not PLACE.fullmatch(options.place):
        raise RequestError(f"--place takes a name as the provider has it, not '{options.place}'")
    words = tuple(options.words or ["campaign"])
    if words[0] not in DOOR.commands:
        raise RequestError(f"no command '{words[0]}' behind --{nearest(words[0], DOOR.commands)}")
    for word in words:
        if not word.isprintable():
            raise RequestError(f"'{word}' behind -- holds a line end or a control character")
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
    if not 0.0 < options.dollars < math.inf:
        raise RequestError(f"--dollars takes an amount above 0, not {options.dollars}")
    price = price_of(gpu) if gpu else None
    if price is None:
        raise RequestError(f"--dollars: no price of '{options.device}' is known; give --budget")
    return min(seconds, options.dollars / price.value * 3600.0)


def _limit(options: Options, order: Rental) -> str:
    money = f", ${options.dollars:.2f}" if options.dollars is not None else ""
    return f"{order.seconds / 60:.0f} minutes{money}, for `smol {shlex.join(order.words)}`"
