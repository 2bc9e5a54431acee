"""`smol night`: one frozen comparison at SmolLM2-135M's size, and what a budget can find by it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from harness.commands import data_recipe, places, show
from harness.commands import run as runs
from harness.commands.options import JsonOption, ResultsOption
from harness.commands.planned import device_profile, evidence, target
from harness.commands.request import Beforehand
from harness.errors import RequestError
from harness.evidence import spreads as measured
from harness.evidence.query import Recorded, on
from harness.evidence.spreads import FEWEST, Spread
from harness.launch import terminal
from harness.machine import devices
from harness.plan import night as nights
from harness.plan import profiles
from harness.plan import runs as planning
from harness.plan.campaign import Target
from harness.plan.forecast import Forecast
from harness.plan.night import BUDGETS, NIGHT, SCALE, Holds
from harness.plan.resolved import Resolved, resolve
from harness.plan.runs import Plan, Where
from harness.recipe import Entry, load
from harness.records import store
from harness.records.schema import Record
from models.config import total_parameters


@dataclass(frozen=True)
class Options:
    """Settle one question in a night, an hour or five dollars.

    One frozen protocol: two arms of SmolLM2-135M on FineWeb-Edu, equal tokens, as many pairs of
    seeds as the budget holds. It says beforehand the smallest difference that they can find.
    """

    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="The card to compute on: auto, cuda, or its name; with --dry-run also one that "
            "is not here, such as rtx-4090 or h100.",
        ),
    ] = "auto"
    budget: Annotated[
        str,
        typer.Option("--budget", help="The time to spend, such as 8h, or the dollars, such as 5$."),
    ] = NIGHT
    pairs: Annotated[
        int | None,
        typer.Option(
            "--pairs", min=FEWEST, metavar="N",
            help="How many pairs of seeds, whatever the budget holds.",
        ),
    ] = None  # fmt: skip
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", metavar="RECIPE",
            help="Another recipe that asks about the losses of one pair of arms at full scale.",
        ),
    ] = None  # fmt: skip
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would run and find; start nothing.")
    ] = False
    results: ResultsOption = None
    as_json: JsonOption = False


@dataclass(frozen=True)
class _Asked:
    """A night before anything runs."""

    entry: Entry
    """With the frozen number of pairs."""
    device: Target
    resolved: Resolved
    plan: Plan
    records: Sequence[Record]
    spreads: Sequence[Spread]
    one: float
    """Seconds of a pair."""
    basis: str
    bought: Holds
    """What is run."""
    offers: Sequence[Holds]
    """What other budgets hold."""
    going_on: bool
    """Whether its number of pairs was frozen before."""


def night(options: Options) -> None:
    """Say what it can find; then, but for `dry_run`, run it.

    Raises RequestError for a device that is not here or is no card, a recipe of another kind, a
    budget without an answer, or another number of pairs than the one that was frozen; else what
    `smol run` raises.
    """
    asked = _ask(options)
    if options.as_json and not options.dry_run:
        raise RequestError("--json goes with --dry-run: a night leaves records")
    if options.as_json:
        print(json.dumps(_as_data(asked), indent=1))
        return
    for line in _said(asked):
        terminal.say(line, "", "  ")
    for line in data_recipe.missing(asked.plan):
        terminal.say(line)
    if options.dry_run:
        print()
        show.say(asked.resolved, asked.device, asked.records, None, as_json=False)
        return
    ((against, arm),) = asked.entry.primary.pairs
    words = ["smol", "night", "--device", asked.device.kind, "--pairs", str(asked.bought.pairs)]
    words += ["--recipe", options.recipe] if options.recipe else []
    runs.run(
        runs.Options(asked.entry.name, SCALE, asked.device.kind, results=options.results),
        only=lambda run: run.arm in (against, arm),
        beforehand=Beforehand(asked.entry, tuple(words)),
    )


def _ask(options: Options) -> _Asked:
    folder = places.results_folder(SCALE, options.results)
    device = target(options.device, folder, None if options.dry_run else "--dry-run")
    if not devices.of(device.kind).rented:
        raise RequestError(
            f"a night is for a card, and {device.name} is none: name one, with --dry-run, such as "
            "--device rtx-4090"
        )
    records = store.read_all(folder)
    entry = nights.protocol(load()[0].values(), options.recipe)
    here = device.kind if device.product else None
    memory = device.peak.memory_bytes if device.peak else None
    profile = device_profile(here) if here else profiles.of(memory)
    resolved = resolve(
        entry, SCALE, {}, profile, evidence(records, SCALE, device.product or device.name, here)
    )
    mine = [record for record in records if device.ran(record)]
    forecast = Forecast(device.name, device.peak, mine)
    one, basis = nights.pair_seconds(_plan(resolved, device, records), forecast)
    if one is None:
        raise RequestError(f"'{device.name}': {basis}, so nothing can be predicted")
    spreads = measured.paired(records)
    bought, going_on = _bought(options, entry, device, one, records, spreads)
    resolved = resolve(
        nights.frozen(entry, bought.pairs), SCALE, {}, profile,
        evidence(records, SCALE, device.product or device.name, here),
    )  # fmt: skip
    offers = [
        nights.holds(text, device, one, spreads)
        for text in BUDGETS
        if "$" not in text or device.price is not None
    ]
    return _Asked(
        resolved.entry, device, resolved, _plan(resolved, device, records), records, spreads, one,
        basis, bought, offers, going_on,
    )  # fmt: skip


def _plan(resolved: Resolved, device: Target, records: Sequence[Record]) -> Plan:
    known = Recorded(on(records, device.product or device.name))
    where = Where(device.kind, device.product or device.name)
    return planning.make(resolved, where, known.tokenizer_digest)


def _bought(
    options: Options,
    entry: Entry,
    device: Target,
    one: float,
    records: Sequence[Record],
    spreads: Sequence[Spread],
) -> tuple[Holds, bool]:
    """What is run, and whether it goes on. Its number of pairs is frozen with the first record."""
    before = nights.begun(entry, records, device)
    if before is not None and options.pairs not in (None, before):
        raise RequestError(
            f"this night was begun with {before} pairs, and {options.pairs} would be chosen after "
            "looking: leave --pairs out, or give another --results"
        )
    pairs = before if before is not None else options.pairs
    held = nights.holds(options.budget, device, one, spreads)
    if pairs is not None:
        held = nights.of_pairs(f"{pairs} pairs", held.seconds, pairs, one, device, spreads)
    if held.pairs < FEWEST:
        least = FEWEST * one / 60.0 / (1.0 - nights.STARTING)
        raise RequestError(
            f"--budget {options.budget} holds {held.pairs} pairs on {device.name}, and below "
            f"{FEWEST} there is no answer: it takes {least:.0f} minutes"
        )
    return held, before is not None


def _said(asked: _Asked) -> list[str]:
    entry, device = asked.entry, asked.device
    ((against, arm),) = entry.primary.pairs
    base = asked.plan.arms[0].config
    sources = " and ".join(source.name for source in base.data.sources)
    price = device.price.text if device.price else "n/a"
    frozen = "frozen when it was begun" if asked.going_on else "frozen now"
    first = entry.first_seed
    return [
        f"{entry.name} on {device.product or device.name}: {entry.summary}",
        f"protocol: {arm} against {against}, {total_parameters(base.model):,} parameters, "
        f"{base.train.tokens:,} tokens of {sources} for each run, "
        f"{base.tokens_per_update:,} an update; "
        f"seeds {first} to {first + asked.bought.pairs - 1}, {frozen}",
        f"one pair takes {asked.one / 60.0:.0f} minutes, by rates {asked.basis}; price {price}",
        *(f"a budget of {offer.text}" for offer in asked.offers),
        *nights.carried(asked.spreads),
        f"to run: {asked.bought.text}",
    ]


def _as_data(asked: _Asked) -> dict[str, Any]:
    ((against, arm),) = asked.entry.primary.pairs
    return {
        "recipe": asked.entry.name,
        "device": asked.device.name,
        "price": asked.device.price.text if asked.device.price else None,
        "arms": [against, arm],
        "first_seed": asked.entry.first_seed,
        "tokens": asked.plan.arms[0].config.train.tokens,
        "pair_seconds": asked.one,
        "basis": asked.basis,
        "runs": [run.name for run in asked.plan.runs if run.arm in (against, arm)],
        "to_run": asdict(asked.bought),
        "budgets": [asdict(offer) for offer in asked.offers],
        "spreads": [asdict(spread) for spread in asked.spreads],
    }
