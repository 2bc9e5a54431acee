"""`smol campaign --for RECIPE`: what narrows one question's interval most a minute or a dollar."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.commands import ladder
from harness.commands import run as runs
from harness.commands.planned import evidence, read_scale, this_code
from harness.errors import CheckFailed, RequestError, RunFailed
from harness.evidence import rungs, transfers
from harness.evidence.pairing import METRIC
from harness.launch import terminal
from harness.machine import devices
from harness.plan import purchases
from harness.plan.campaign import Known, Target
from harness.plan.purchases import AskedInterval, Offer, Shop
from harness.recipe import LADDER, Entry, Scale, find
from harness.records import store

BLIND = (
    "the choice looks at widths alone, never at what came out; seeds that the recipe did not "
    "declare are never bought here: added after a look, they make the whole answer exploratory"
)
DONE = (
    "next: nothing: all seeds that were declared beforehand are there. To know it better, ask "
    "anew: a larger number, or Sequential(...), declared before fresh seeds are run"
)


@dataclass(frozen=True)
class _Question:
    """What is asked, where."""

    entry: Entry
    scale: str
    device: Target
    results: Path

    def look(self) -> list[AskedInterval]:
        """Its intervals and offers, by the records that are there now."""
        entry, device = self.entry, self.device
        records = store.read_all(self.results)
        here = device.kind if device.product else None
        known = Known(
            records, device, this_code,
            lambda scale, device_class: evidence(records, scale, device_class, here), guess=True,
        )  # fmt: skip
        shop = Shop(known, device)
        if self.scale != LADDER:
            scale = read_scale(self.scale)
            plan = known.plan(entry, scale, device)
            return purchases.of_question(
                shop, plan, lambda seeds: known.plan(entry, scale, device, seeds)
            )
        family = ladder.scales(entry, devices.of(device.kind))
        plans = {scale: known.plan(entry, scale, device) for scale in family}
        found = rungs.measured(known.here, entry.name, known.device_class, family)
        carried = transfers.carried(known.here, found, known.device_class, family)
        shapes = {
            scale: (float(size), tuple(map(float, tokens)))
            for scale, plan in plans.items() for size, tokens in (ladder.shape(plan),)
        }  # fmt: skip
        return [
            purchases.of_ladder(
                shop, plans, shapes, found,
                lambda scale, seeds: known.plan(entry, scale, device, seeds),
                transfers.unfair(carried, plans[family[0]].recipe.tuned_by, family),
            )
        ]  # fmt: skip

    def buy(self, offer: Offer) -> None:
        """Run it; of a rung, its forecast first and what the ladder says afterwards."""
        climbing = self.scale == LADDER
        if climbing:
            ladder.foretell(self.entry, offer.scale, self.device.kind, self.results)
        runs.run(
            runs.Options(
                self.entry.name, offer.scale, self.device.kind, results=self.results, fresh=True
            ),
            only=lambda r: r.seed in offer.seeds and r.arm in offer.pair,
        )
        if climbing and (one := ladder.told(self.entry, self.device.kind, self.results)):
            terminal.say(f"{self.entry.name}: {one.said.verdict}")


def answer(
    recipe: str,
    scale: str | None,
    device: Target,
    results: Path,
    budget: float | None,
    *,
    as_json: bool,
) -> None:
    """Buy what narrows the question's interval most, within `budget` seconds; without a budget say
    what that is, and start nothing.

    Raises RequestError for a recipe without a question about losses, or without the scale, and
    RunFailed at the end where runs failed.
    """
    entry = find(recipe)
    question = _Question(entry, _scale(entry, scale, device), device, results)
    asked = question.look()
    if as_json:
        print(json.dumps(_data(question, asked), indent=1))
        return
    _print(question, asked)
    if budget is not None:
        _spend(question, asked, budget)


def _scale(entry: Entry, asked: str | None, device: Target) -> str:
    """The scale that is meant: where none is named, the first that a campaign takes here."""
    usual: Sequence[Scale] = devices.of(device.kind).campaign_scales
    named = asked or next((s for s in (*usual, *entry.seeds) if s in entry.seeds), "")
    if named == LADDER:
        ladder.scales(entry, devices.of(device.kind))
    elif read_scale(named) not in entry.seeds:
        raise RequestError(
            f"recipe '{entry.name}' has no scale '{named}': it has {', '.join(entry.seeds)}"
        )
    elif not entry.at(read_scale(named)).runs_on(device.kind):
        raise RequestError(f"recipe '{entry.name}' does not run on {device.kind}")
    if not entry.primary.pairs:
        raise RequestError(
            f"recipe '{entry.name}' asks about no pair: it has no interval to narrow"
        )
    if entry.primary.metric != METRIC:
        raise RequestError(
            f"recipe '{entry.name}' asks about speed, which is timed in whole blocks: "
            f"`smol run {entry.name}` says what is missing"
        )
    return named


def _spend(question: _Question, asked: list[AskedInterval], budget: float) -> None:
    """Offer by offer; what was just measured enters the next choice."""
    started, failed = time.monotonic(), list[str]()
    tried: list[Offer] = []
    price = question.device.price
    while True:
        left = budget - (time.monotonic() - started)
        offer = purchases.best(asked, price, left, tried)
        if offer is None:
            break
        tried.append(offer)
        terminal.say(f"campaign: {left / 60:.0f} minutes left; {_offered(question, offer)}")
        try:
            question.buy(offer)
        except (RunFailed, CheckFailed, RequestError) as error:
            failed.append(str(error))
            terminal.say(f"campaign: {error}")
        asked = question.look()
    rest = purchases.best(asked, price, tried=tried)
    unknown = any(o.beyond is None and o.seconds is None for one in asked for o in one.offers)
    terminal.say(
        f"campaign: {len(tried)} bought; "
        + ("no rate is known of what is left" if rest is None and unknown else
           "nothing is left to buy for it" if rest is None else
           f"the next takes {(rest.seconds or 0.0) / 60:.1f} minutes, more than is left")
    )  # fmt: skip
    if failed:
        raise RunFailed(f"{len(failed)} of {len(tried)} purchases did not end well: {failed[0]}")


def _print(question: _Question, asked: Sequence[AskedInterval]) -> None:
    device, price = question.device, question.device.price
    terminal.say(
        f"{question.entry.name} at {question.scale} on {device.name}, price "
        f"{price.text if price else 'n/a'}: what narrows it most a {_unit(question)}"
    )
    for one in asked:
        terminal.say(f"{one.name}: {one.now}", "", "  ")
        for note in one.notes:
            terminal.say(note, "  ", "    ")
        for offer in sorted(one.offers, key=lambda o: -(o.per(price) or 0.0)):
            terminal.say(_offered(question, offer), "  ", "    ")
    chosen = purchases.best(asked, price)
    if chosen is not None:
        terminal.say(f"next: {_offered(question, chosen)}", "", "  ")
    elif any(offer.beyond is None for one in asked for offer in one.offers):
        terminal.say("next: nothing, since no rate is known of it", "", "  ")
    elif any(one.offers for one in asked):
        terminal.say(DONE, "", "  ")
    else:
        terminal.say("next: nothing: more seeds would not mend it", "", "  ")
    terminal.say(BLIND)


def _unit(question: _Question) -> str:
    return "dollar" if question.device.price else "minute"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 else f"{100 * share:.2g} %"


def _offered(question: _Question, offer: Offer) -> str:
    """One offer in a line."""
    price = question.device.price
    seeds = ", ".join(map(str, offer.seeds))
    which = f"seed {seeds}" if len(offer.seeds) == 1 else f"seeds {seeds}"
    where = f" at {offer.scale}" if question.scale == LADDER else ""
    took = "no rate is known" if offer.seconds is None else f"{offer.seconds / 60:.1f} minutes"
    dollars = offer.dollars(price)
    paid = f", ${dollars:.2f}" if dollars is not None else ""
    head = f"{which} of {' and '.join(offer.pair)}{where}, {took}{paid}"
    if offer.narrows is None:
        why = "no interval without it" if question.scale == LADDER else "whole or not at all"
        return f"{head}: {why}"
    to = f" to ± {offer.half:.4f}" if offer.half is not None else ""
    rate = offer.per(price)
    said = f", {_percent(rate)} a {_unit(question)}" if rate is not None else ""
    whole = " (all that was declared, which a verdict takes)" if offer.whole else ""
    text = f"{head}: expected to narrow by {_percent(offer.narrows)}{to}{said}{whole}"
    return text if offer.beyond is None else f"{text}; exploratory: {offer.beyond}"


def _data(question: _Question, asked: Sequence[AskedInterval]) -> dict[str, Any]:
    device, price = question.device, question.device.price
    chosen = purchases.best(asked, price)
    return {
        "recipe": question.entry.name,
        "scale": question.scale,
        "device": device.name,
        "price": price.text if price else None,
        "unit": _unit(question),
        "intervals": [
            {
                "of": one.name, "now": one.now, "notes": list(one.notes),
                "offers": [_row(question, offer) for offer in one.offers],
            }
            for one in asked
        ],
        "next": _row(question, chosen) if chosen else None,
    }  # fmt: skip


def _row(question: _Question, offer: Offer) -> dict[str, Any]:
    price = question.device.price
    return {
        "scale": offer.scale,
        "arms": list(offer.pair),
        "seeds": list(offer.seeds),
        "runs": len(offer.runs),
        "seconds": offer.seconds,
        "dollars": offer.dollars(price),
        "basis": offer.basis,
        "narrows": offer.narrows,
        "per_unit": offer.per(price),
        "half": offer.half,
        "declared": offer.beyond is None,
        "beyond": offer.beyond,
        "whole": offer.whole,
        "command": shlex.join(
            ["smol", "campaign", "--for", question.entry.name, "--scale", question.scale]
        ),
    }
