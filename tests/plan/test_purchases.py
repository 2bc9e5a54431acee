"""What narrows one question's interval most a minute: offers, and what is never offered."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from harness.commands import campaign_for as door
from harness.errors import RequestError, RunFailed
from harness.evidence import rungs
from harness.evidence.widths import widths
from harness.machine import devices
from harness.machine.prices import price_of
from harness.plan import campaign, purchases
from harness.plan.backlog import Backlog
from harness.plan.campaign import Known, Target
from harness.plan.purchases import AskedInterval, Offer, Shop
from harness.plan.runs import Plan
from harness.recipe import LOOKS, Entry, Scale, find
from harness.records.schema import Record
from harness.stats import ladder
from harness.stats.inference import half_width, t_interval
from harness.stats.narrowing import expected
from tests.plan.test_campaign import current
from tests.report import factory
from tests.stats import ladders as made

HERE = Target(factory.CPU, "cpu", None, None, 2, factory.CPU)
PAIR = ("dense", "moe-active")


@cache
def search() -> tuple[Record, ...]:
    return tuple(factory.search("proxy"))


@cache
def _seven() -> tuple[Record, ...]:
    return tuple(factory.campaign("proxy", 7))


def seeds(count: int) -> list[Record]:
    """The factory's records of so many seeds."""
    return [r for r in _seven() if r.seed < count]


def asked(records: Sequence[Record], entry: Entry | None = None) -> list[AskedInterval]:
    """Of the factory's question, with a search that makes it fair."""
    known = Known([*records, *search()], HERE, current, lambda scale, name: NONE)
    of = entry or factory.entry()

    def plan(count: int | None = None) -> Plan:
        return known.plan(of, "proxy", HERE, count)

    return purchases.of_question(Shop(known, HERE), plan(), plan)


NONE = campaign.NONE


def test_the_next_seed_and_the_rest_of_the_design_with_what_they_narrow() -> None:
    records = seeds(3)
    (one,) = asked(records)
    nxt, rest = one.offers
    assert (nxt.seeds, rest.seeds) == ((3,), (3, 4))
    assert {run.arm for run in nxt.runs} == set(PAIR)
    (width,) = widths([*records, *search()], "dense_vs_moe", "proxy")
    now = width.now
    assert one.now.startswith(f"± {now.half:.4f} nats at 95 %, over 3 pairs")
    alone = t_interval(width.pairs.values)
    later = expected(alone, None, 4, 0.95, width.pairs._short)
    assert later is not None
    assert nxt.half == later.half
    assert nxt.narrows == pytest.approx(1.0 - later.half / now.half)  # type: ignore[operator]
    assert 0.1 < nxt.narrows < (rest.narrows or 0.0)
    assert nxt.per(None) == pytest.approx(nxt.narrows * 60.0 / (nxt.seconds or 0.0))
    price = price_of("h100-sxm")
    assert nxt.dollars(price) == pytest.approx((nxt.seconds or 0.0) / 3600.0 * 2.69)
    assert nxt.per(price) == pytest.approx(nxt.narrows / (nxt.dollars(price) or 0.0))
    assert purchases.best([one], None) == nxt
    assert purchases.best([one], None, seconds=1.0) is None
    assert purchases.best([one], None, tried=[nxt]) is None


def test_a_frozen_question_without_an_interval_is_bought_whole_or_not_at_all() -> None:
    for count in (0, 1, 2):
        (one,) = asked(seeds(count))
        (offer,) = one.offers
        assert offer.seeds == tuple(range(count, 5))
        assert offer.narrows is None
        assert f"no interval yet, {count} pair" in one.now
        assert purchases.best([one], None, (offer.seconds or 0.0) - 1.0) is None
    short = dataclasses.replace(factory.entry(), seeds={"proxy": 2})
    (one,) = asked([], short)
    assert one.offers == ()
    assert "no 3 pairs" in " ".join(one.notes)


def test_of_a_pair_that_lacks_one_arm_only_that_is_run_and_what_diverged_is_no_pair() -> None:
    records = seeds(5)

    def ended(status: str) -> list[Record]:
        return [
            factory.broken(r, status, "x") if (r.arm, r.seed) == ("moe-active", 3) else r
            for r in records
        ]

    (one,) = asked(ended("oom"))
    (offer,) = one.offers
    assert offer.seeds == (3,)
    assert {run.arm for run in offer.runs} == {"moe-active"}
    (one,) = asked(ended("diverged"))
    assert "diverged with seed 3" in " ".join(one.notes)
    assert [offer.seeds for offer in one.offers] == [(5,)]
    assert purchases.best([one], None) is None


def test_what_was_not_declared_is_named_and_never_the_next() -> None:
    (one,) = asked(seeds(5))
    (offer,) = one.offers
    assert offer.seeds == (5,)
    assert offer.beyond == "the 5 seeds that the recipe froze are there"
    assert len(offer.runs) > 0
    assert purchases.best([one], None) is None
    (more,) = asked(seeds(7))
    assert more.offers[0].seeds == (7,)
    assert "7 pairs are there where the recipe froze 5" in more.notes[0]


def test_the_difference_itself_changes_nothing() -> None:
    records = seeds(4)
    moved = [
        r.model_copy(update={"ends": tuple(
            e.model_copy(update={"val_loss": e.val_loss - 0.5}) for e in r.ends
        )}) if r.arm == "moe-active" else r
        for r in records
    ]  # fmt: skip
    (one,), (other,) = asked(records), asked(moved)
    assert one.now == other.now
    assert one.offers[0].narrows == pytest.approx(other.offers[0].narrows)


def test_runs_of_other_code_are_no_pairs_and_untuned_arms_have_no_offer() -> None:
    old = seeds(4)
    code = old[0].code.model_copy(update={"source_digest": "01d0000001d00000"})
    (one,) = asked([r.model_copy(update={"code": code}) for r in old])
    assert "may not stand beside them (code 01d00000" in one.notes[0]
    assert one.now == "no interval yet, 0 pairs"
    assert one.offers[0].seeds == (0, 1, 2, 3, 4)
    known = Known(old, HERE, current, lambda scale, name: NONE)
    plan = known.plan(factory.entry(), "proxy", HERE)
    (one,) = purchases.of_question(Shop(known, HERE), plan, lambda n: plan)
    assert one.offers == ()
    assert "no number of seeds mends" in one.notes[0]
    empty = Known([], HERE, current, lambda scale, name: NONE)
    (one,) = purchases.of_question(Shop(empty, HERE), plan, lambda n: plan)
    assert "'not comparable: untuned' until `smol run recheck_dense_vs_moe" in one.notes[0]


def test_a_sequential_design_offers_its_own_next_seed_at_that_looks_level() -> None:
    entry = dataclasses.replace(factory.entry(), seeds={"proxy": 8}, looks={"proxy": LOOKS})
    question = {"seeds": 8, "looks": LOOKS}
    pairs = {
        # Far from decided: small beside its spread, but not futile.
        "open": [6.00, 6.10, 5.95], "found": [5.000, 5.0001, 5.0002],
    }  # fmt: skip
    base = [6.05, 6.06, 6.09]
    for name, arm in pairs.items():
        records = factory.with_losses(
            factory.campaign("proxy", 3, asked=question), {"dense": base, "moe-active": arm}
        )
        (one,) = asked(records, entry)
        if name == "open":
            (offer,) = one.offers
            assert offer.seeds == (3,)
            assert offer.beyond is None
            level = 1.0 - LOOKS[1]
            assert f"at {100 * level:.3g} %" in one.now
            spread = t_interval([b - a for a, b in zip(base, arm, strict=True)])
            assert f"± {half_width(spread.error or 0.0, 2, level):.4f}" in one.now
        else:
            assert one.offers == ()
            assert "its sequential design has stopped, at 3 pairs" in one.notes[0]
    (one,) = asked([], entry)
    assert one.offers[0].seeds == (0, 1, 2)


FAMILY = devices.of("cpu").ladder


class Finished(Shop):
    """All that was declared is there."""

    def backlog(self, plan: Plan) -> Backlog:
        return Backlog(finished=list(plan.runs))


def climbed(count: int) -> tuple[AskedInterval, list[rungs.Climbed]]:
    """A ladder of `optimizers` of which so many rungs were run, and all that was declared is
    there."""
    of = made.made(made.crossed(made.laws(1, 3), -0.2, -0.1), 2)
    found = [
        rungs.Climbed(scale, ("adamw", "muon"), rung, tuple(range(rung.losses.shape[1])), (), (),
                      "", (0.1, 0.1))
        for scale, rung in zip(FAMILY[:count], of.rungs, strict=False)
    ]  # fmt: skip
    known = Known([], HERE, current, lambda scale, name: NONE)
    entry = find("optimizers")
    forecast = known.forecast
    known.forecast = type(forecast)(forecast.device, None, [], guess=True)

    def plan(scale: Scale, seeds: int | None = None) -> Plan:
        return known.plan(entry, scale, HERE, seeds)

    shapes = {s: (r.size, r.tokens) for s, r in zip(FAMILY, of.rungs, strict=True)}
    shop = Finished(known, HERE) if count == 4 else Shop(known, HERE)
    return purchases.of_ladder(shop, {s: plan(s) for s in FAMILY}, shapes, found, plan), found


def test_of_a_ladder_each_rung_s_next_seed_is_offered_by_what_it_tells_of_the_target() -> None:
    one, found = climbed(4)
    assert [o.scale for o in one.offers] == list(FAMILY)
    assert [o.seeds for o in one.offers] == [(4,), (4,), (3,), (2,)]
    assert all(o.beyond and "are there" in o.beyond for o in one.offers)
    assert purchases.best([one], None) is None
    # Three budgets of one stem of both arms, and what they narrow is what the law says.
    assert all({r.arm for r in o.runs} == {"adamw", "muon"} for o in one.offers)
    assert all(len(o.runs) == 8 for o in one.offers)
    judged = ladder.judge([c.rung for c in found])
    ends = judged.interval(rungs.TARGET, 0.9)
    assert f"a factor of {np.exp(float(ends.high[0] - ends.low[0])):.2f} wide" in one.now
    most = max(one.offers, key=lambda o: o.narrows or 0.0)
    assert most.scale == "rung4"
    assert (one.offers[0].seconds or 0.0) < (one.offers[3].seconds or 0.0)
    best = max(one.offers, key=lambda o: o.per(None) or 0.0)
    rates = [(o.narrows or 0.0) / (o.seconds or 1.0) for o in one.offers]
    assert best == one.offers[rates.index(max(rates))]


def test_a_ladder_that_is_not_finished_is_climbed_and_a_new_rung_is_whole() -> None:
    one, _ = climbed(2)
    assert "a law needs 3 rungs at least, and 2 are there" in one.now
    chosen = purchases.best([one], None)
    assert chosen is not None
    assert chosen.scale == "rung1"
    one, _ = climbed(3)
    assert one.offers[3].seeds == (0, 1)
    assert (one.offers[3].narrows or 0.0) > 0.2
    assert [o.beyond for o in one.offers] == [None] * 4


def test_seeds_added_to_a_rung_make_the_multiplier_exploratory() -> None:
    _, found = climbed(4)
    more = [dataclasses.replace(c, frozen=len(c.seeds)) for c in found]
    assert "exploratory" not in rungs.say(more).verdict
    more[1] = dataclasses.replace(more[1], frozen=3)
    assert "exploratory, 4 seeds at rung2 where the recipe froze 3" in rungs.say(more).verdict


def question(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> Target:
    """The door's, over the factory's records and question."""
    monkeypatch.setattr(door, "find", lambda name: factory.entry())
    monkeypatch.setattr(door, "this_code", current)
    monkeypatch.setattr(door.store, "read_all", lambda folder: records)
    return dataclasses.replace(HERE, price=price_of("h100-sxm"))


def test_the_door_says_it_in_minutes_and_dollars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    records = [*seeds(4), *search()]
    where = question(records, monkeypatch)
    door.answer("dense_vs_moe", None, where, tmp_path, None, as_json=False)
    said = capsys.readouterr().out
    golden = Path(__file__).parent / "golden" / "campaign-for.txt"
    assert said == golden.read_text("utf-8")
    door.answer("dense_vs_moe", "proxy", where, tmp_path, None, as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert data["unit"] == "dollar"
    assert data["next"]["seeds"] == [4]
    assert data["next"]["per_unit"] == pytest.approx(
        data["next"]["narrows"] / data["next"]["dollars"]
    )
    assert list(tmp_path.iterdir()) == []


def test_a_budget_buys_what_was_declared_and_stops(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    every = seeds(6)
    records = [*(r for r in every if r.seed < 3), *search()]
    where = question(records, monkeypatch)
    bought: list[Offer] = []

    def buy(self: object, offer: Offer) -> None:
        bought.append(offer)
        records.extend(r for r in every if r.seed in offer.seeds and r.arm in offer.pair)

    monkeypatch.setattr(door._Question, "buy", buy)
    door.answer("dense_vs_moe", None, where, tmp_path, 1e6, as_json=False)
    assert [offer.seeds for offer in bought] == [(3,), (4,)]
    assert "nothing is left to buy for it" in capsys.readouterr().out
    door.answer("dense_vs_moe", None, where, tmp_path, 1e6, as_json=False)
    assert len(bought) == 2

    def fails(self: object, offer: Offer) -> None:
        raise RunFailed("no")

    del records[records.index(next(r for r in records if r.seed == 4)) :]
    monkeypatch.setattr(door._Question, "buy", fails)
    with pytest.raises(RunFailed, match="1 of 1 purchases did not end well: no"):
        door.answer("dense_vs_moe", None, where, tmp_path, 1e6, as_json=False)


@pytest.mark.parametrize(
    ("recipe", "scale", "why"),
    [
        ("optimizer", None, "did you mean 'optimizers'"),
        ("noise_floor", None, "asks about no pair"),
        ("compile_breakeven", None, "asks about speed"),
        ("optimizers", "rung9", "did you mean 'rung"),
        ("as_published", "rung1", "has no scale 'rung1': it has"),
        ("as_published", "ladder", "has no ladder"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    recipe: str, scale: str | None, why: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=why):
        door.answer(recipe, scale, HERE, tmp_path, None, as_json=False)


def test_a_campaign_s_later_seeds_are_worth_what_they_narrow_as_measured() -> None:
    entry = factory.entry()
    records = [*seeds(3), *search()]
    found = campaign.units([entry], records, HERE, current)
    named = {u.seed: u for u in found if u.arms == PAIR}
    (width,) = widths(records, "dense_vs_moe", "proxy")
    for seed in (3, 4):
        step = width.step(seed)
        assert step is not None
        assert named[seed].value == pytest.approx(0.5 * step)
        assert "as measured" in named[seed].why
        assert 0.0 < step <= 1.0 - (seed / (seed + 1)) ** 0.5 + 1e-9
