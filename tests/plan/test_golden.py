"""What a stranger is told before renting: campaigns and plans for the cards that people rent.

The files hold what the program says; a change that is meant is written with
`python -m tests.plan.test_golden`, and read before it is committed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.commands.show import _time
from harness.evidence.query import Current, Manifests
from harness.evidence.spreads import Spread
from harness.machine.hardware import peaks
from harness.machine.prices import price_of
from harness.plan import campaign, needs, profiles
from harness.plan import night as nights
from harness.plan import runs as planning
from harness.plan.campaign import Target
from harness.plan.forecast import Forecast
from harness.plan.resolved import resolve
from harness.plan.runs import Where
from harness.recipe import Scale, find

HERE = Path(__file__).parent / "golden"
CARDS = ("rtx-4090", "h100-sxm", "rtx-5090", "rtx-3090", "h200", "a100-pcie-80gb")
BUDGETS = ("30m", "1h", "5$")
RECIPES = (
    "compile_breakeven", "cost", "dense_vs_moe", "kernels", "noise_floor", "optimizers",
    "pretrain_sft",
)  # fmt: skip
"""Named, so that a recipe added later leaves the plans as they are."""
SHOWN: tuple[tuple[str, Scale], ...] = (("dense_vs_moe", "full"), ("pretrain_sft", "full"))


def target(card: str) -> Target:
    peak = peaks()[card][1]
    return Target(card, "cuda", peak, price_of(card))


def nothing_runs(manifests: Manifests) -> Current:
    return Current("no code", ("no software",), manifests)


def campaigns(card: str) -> dict[str, Any]:
    """Budget -> what it buys, in order."""
    on = target(card)
    found = campaign.units(map(find, RECIPES), [], on, nothing_runs)
    slots = campaign.order(found, on.price)
    said: dict[str, Any] = {}
    for budget in BUDGETS:
        if "$" in budget and on.price is None:
            said[budget] = "no price"
            continue
        bought = campaign.within(slots, campaign.seconds_of(budget, on.price))
        said[budget] = [
            f"{s.unit.recipe} {s.unit.scale} seed {s.unit.seed}: {', '.join(s.unit.arms)}: "
            f"{s.seconds / 60:.0f} min, in all {s.ends / 60:.0f}"
            + (f", ${s.dollars:.2f}" if s.dollars is not None else "")
            for s in bought
        ]
    return said


def shown(card: str) -> dict[str, Any]:
    """Recipe -> minutes, dollars, passes over the data, disk, memory."""
    on, said = target(card), {}
    for name, scale in SHOWN:
        resolved = resolve(find(name), scale, {}, profiles.of(on.peak and on.peak.memory_bytes))
        plan = planning.make(resolved, Where("cuda", card), lambda data: "t")
        passes = needs.epochs(plan.runs, lambda data: None)
        said[f"{name} {scale}"] = [
            *_time(plan, [], on),
            f"epochs {passes[0]:.2f}" if passes else "epochs not known",
            f"disk {needs.disk_bytes(plan.runs) / 1e9:.0f} GB, data "
            f"{needs.data_bytes(plan, lambda data: None) / 1e9:.1f} GB",
            f"host {needs.host_bytes(plan.runs, 1) / 1e9:.1f} GB",
            "device {:.1f} GB".format(
                max(profiles.memory_bytes(a.config, a.config.batch.micro_batch) for a in plan.arms)
                / 1e9
            ),
        ]
    return said


SPREADS = [
    Spread("some recipe", "proxy", "a", "b", 5, 0.0109, 819_200),
    Spread("another", "proxy", "a", "c", 5, 0.0304, 327_680),
]
"""Fixed here: the records' own change with every run."""


def night(card: str) -> list[str]:
    """What the night says of each budget."""
    on, entry = target(card), nights.protocol([find("night")], None)
    profile = profiles.of(on.peak and on.peak.memory_bytes)
    plan = planning.make(
        resolve(entry, nights.SCALE, {}, profile), Where("cuda", card), lambda data: "t"
    )
    one, basis = nights.pair_seconds(plan, Forecast(card, on.peak, []))
    assert one is not None
    budgets = [b for b in nights.BUDGETS if "$" not in b or on.price is not None]
    return [
        f"one pair {one / 60:.0f} minutes, {basis}",
        *(nights.holds(b, on, one, SPREADS).text for b in budgets),
    ]


@pytest.mark.parametrize("card", CARDS)
def test_what_is_said_is_what_was_read(card):
    expected = json.loads((HERE / f"{card}.json").read_text("utf-8"))
    assert campaigns(card) == expected["campaigns"]
    assert shown(card) == expected["shown"]
    assert night(card) == expected["night"]


@pytest.mark.parametrize("card", CARDS)
def test_a_campaign_answers_whole_questions_and_begins_with_the_rate(card):
    """Whatever the files say."""
    on = target(card)
    found = campaign.units(map(find, RECIPES), [], on, nothing_runs)
    slots = campaign.order(found, on.price)
    for minutes in (20, 30, 45, 60, 120, 300):
        bought = campaign.within(slots, 60.0 * minutes)
        assert sum(slot.seconds for slot in bought) <= 60.0 * minutes
        for slot in bought:
            group = [s for s in slots if s.unit.group == slot.unit.group and s.unit.first]
            assert all(s.unit.identity in {b.unit.identity for b in bought} for s in group)
        rates = [slot.unit.rate for slot in bought]
        assert rates == sorted(rates, reverse=True)
    assert all(s.unit.scale == "full" for s in slots if find(s.unit.recipe).at("full").timing)


def main() -> None:
    """Write what is said now."""
    HERE.mkdir(exist_ok=True)
    for card in CARDS:
        said = {"campaigns": campaigns(card), "shown": shown(card), "night": night(card)}
        (HERE / f"{card}.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
