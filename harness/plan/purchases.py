"""What to buy to know one question's answer better: the seeds that narrow its interval most a
minute, or a dollar. Pure: it starts nothing.

Offered is the next seed of each pair of the question, of a ladder the next of each rung; with its
time as forecast, and the share of its width that the interval is expected to lose. Nothing looks at
where an interval lies, so that no offer can favour an answer. Only what the recipe declared before
the first run (its frozen number of seeds, or what its sequential design asks for now) may be bought
and judged; what goes beyond is named with what it would make of the answer: exploratory.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.evidence.rungs import FEWEST as FEWEST_RUNGS
from harness.evidence.rungs import TARGET, Climbed
from harness.evidence.sequential import stopped
from harness.evidence.widths import Width, widths
from harness.machine.prices import Price
from harness.plan import backlog as backlogs
from harness.plan.backlog import Backlog
from harness.plan.campaign import Known, Target, at_once
from harness.plan.runs import Plan, Run
from harness.recipe import Scale
from harness.records.store import path_of
from harness.stats import ladder
from harness.stats.inference import MIN_PAIRS
from harness.stats.narrowing import More, ladder_ratio

LADDER_LEVEL = 0.9
"""Of a multiplier's interval."""
HELD = 0.1
"""The least share of a variance that is not the seeds' of which a word is said."""


@dataclass(frozen=True)
class Offer:
    """Seeds of one pair of arms that may be bought together."""

    scale: Scale
    pair: tuple[str, str]
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    """Those that are missing."""
    seconds: float | None
    """Predicted; None where no rate is known."""
    basis: str
    narrows: float | None
    """The share of its width that the interval is expected to lose; None where there is none yet,
    or nothing can be said."""
    half: float | None = None
    """What is expected on either side afterwards, nats a token; None of a ladder."""
    beyond: str | None = None
    """Why its result would be exploratory; None where the recipe declared it."""
    whole: bool = False
    """Whether it is all that the design still asks for, rather than the next seed of it."""

    def per(self, price: Price | None) -> float | None:
        """The share narrowed a dollar, or without a price a minute."""
        if self.narrows is None or not self.seconds:
            return None
        return self.narrows / (self.dollars(price) or self.seconds / 60.0)

    def dollars(self, price: Price | None) -> float | None:
        """What it costs; None without a price."""
        if price is None or self.seconds is None:
            return None
        return self.seconds / 3600.0 * price.value


@dataclass(frozen=True)
class AskedInterval:
    """One interval that is asked about."""

    name: str
    now: str
    """How wide it is, in words."""
    offers: tuple[Offer, ...]
    notes: tuple[str, ...] = ()
    """What more seeds do not mend."""


def best(
    asked: Sequence[AskedInterval],
    price: Price | None,
    seconds: float = math.inf,
    tried: Collection[Offer] = (),
) -> Offer | None:
    """The next purchase: of what was declared, takes no more than so many seconds and is none of
    `tried`, a first answer before what narrows one, then the most a minute or dollar."""
    offers = [
        offer for one in asked for offer in one.offers
        if offer.beyond is None and offer.runs and not offer.whole and offer not in tried
        and offer.seconds is not None and offer.seconds <= seconds
    ]  # fmt: skip
    first = [offer for offer in offers if offer.narrows is None]
    return first[0] if first else max(offers, key=lambda o: o.per(price) or 0.0, default=None)


class Shop:
    """What the records on one device say, and what runs take there."""

    def __init__(self, known: Known, device: Target) -> None:
        """`known` is of that device."""
        self._known, self._cores = known, device.cores
        self.records = known.here

    def backlog(self, plan: Plan) -> Backlog:
        """As `smol run` has it."""
        return backlogs.sort(plan, self.records, self._known.current)

    def has(self, recipe: str, scale: Scale) -> bool:
        """Whether a recipe was run at a scale."""
        return any((r.recipe, r.scale) == (recipe, scale) for r in self.records)

    def paths(self, plan: Plan) -> set[str]:
        """The records that new ones of the plan may stand beside."""
        runs = {run.key: run for run in plan.runs}
        return {
            path_of(record) for record in self.records
            if record.status == "ok" and (run := runs.get(record.key)) is not None
            and not self._known.current.changes(record, run.config.data)
        }  # fmt: skip

    def offer(
        self,
        plan: Plan,
        pair: tuple[str, str],
        seeds: Sequence[int],
        missing: Collection[str],
        narrows: float | None,
        *,
        half: float | None = None,
        beyond: str | None = None,
        whole: bool = False,
    ) -> Offer:
        """With its forecast; `missing` are the keys of the runs that are not there."""
        runs = tuple(
            run for run in plan.runs
            if run.seed in seeds and run.arm in pair and run.key in missing
        )  # fmt: skip
        seconds, basis = None, "nothing is left to run"
        if runs:
            together = at_once(plan, runs, self._cores)
            seconds, basis = self._known.forecast.together(runs, together)
        return Offer(
            plan.scale, pair, tuple(seeds), runs, seconds, basis, narrows, half, beyond, whole
        )


def of_question(shop: Shop, plan: Plan, wider: Callable[[int], Plan]) -> list[AskedInterval]:
    """Every pair of a recipe's question at one scale; `wider(n)` is the plan with n seeds."""
    backlog, name, first = shop.backlog(plan), plan.entry.name, plan.entry.first_seed
    run = [r.seed for r in shop.records if (r.recipe, r.scale) == (name, plan.scale)]
    paths = shop.paths(wider(max([plan.seeds, *(seed + 1 - first for seed in run)])))
    known = {w.pair: w for w in widths(shop.records, name, plan.scale, paths)} if paths else {}
    return [
        _of_pair(shop, plan, wider, backlog, known.get(pair), pair)
        for pair in plan.entry.primary.pairs
    ]


def _of_pair(
    shop: Shop,
    plan: Plan,
    wider: Callable[[int], Plan],
    backlog: Backlog,
    width: Width | None,
    pair: tuple[str, str],
) -> AskedInterval:
    entry, at = plan.entry, plan.entry.primary.at
    name = f"{pair[1]} less {pair[0]} at {at}"
    lost = width.diverged if width else frozenset()
    missing = {run.key for run in backlog.missing}
    due = sorted({run.seed for run in backlog.missing if run.arm in pair and run.seed not in lost})
    notes = [*_outdated(plan, backlog, pair), *_lost(lost)]
    search = plan.recipe.tuned_by
    if not width and search and not shop.has(search, plan.scale):
        notes.append(
            f"its answer will be 'not comparable: untuned' until `smol run {search} --scale "
            f"{plan.scale}` was run here"
        )
    have = width.count if width else 0
    if width and width.unfair:
        notes.append(f"no number of seeds mends that it is not comparable: {width.unfair}")
        return AskedInterval(name, _said(width), (), tuple(notes))
    looks, family = entry.looks.get(plan.scale, ()), len(entry.primary.pairs)
    if width is None or have < MIN_PAIRS:
        first = due[: MIN_PAIRS - have] if looks else due  # a frozen question has no verdict before
        if have + len(first) < MIN_PAIRS:
            notes.append(f"the recipe's seeds are no {MIN_PAIRS} pairs: it has no answer")
            return AskedInterval(name, f"no interval, {_pairs(have)}", (), tuple(notes))
        offer = shop.offer(plan, pair, first, missing, None)
        return AskedInterval(name, f"no interval yet, {_pairs(have)}", (offer,), tuple(notes))
    if looks:
        end = stopped(width.pairs, entry.first_seed, looks, family)
        if end or have >= MIN_PAIRS - 1 + len(looks):
            at_pairs = _pairs(end.pairs if end else have)
            notes.append(f"its sequential design has stopped, at {at_pairs}: they alone are judged")
            return AskedInterval(name, _said(width), (), tuple(notes))
        # The next look's own level, for what is and for what comes.
        width = dataclasses.replace(width, level=1.0 - looks[have + 1 - MIN_PAIRS] / family)
    elif have > (frozen := entry.seeds[plan.scale]):
        notes.append(f"{have} pairs are there where the recipe froze {frozen}: exploratory already")
    if due:
        offers = [_next(shop, plan, width, due[:1], missing)]
        if len(due) > 1:
            offers.append(_next(shop, plan, width, due, missing, whole=True))
    else:
        there = [end.seed for end, _ in width.pairs.ends]
        seed = max(*there, *lost, entry.first_seed + entry.seeds[plan.scale] - 1) + 1
        more = wider(seed + 1 - entry.first_seed)
        keys = {run.key for run in shop.backlog(more).missing} | {
            run.key for run in more.runs if run.seed == seed
        }
        offers = [_next(shop, more, width, [seed], keys, beyond=_frozen(plan))]
    return AskedInterval(name, _said(width), tuple(offers), (*notes, *_limits(width)))


def _next(
    shop: Shop,
    plan: Plan,
    width: Width,
    seeds: Sequence[int],
    missing: Collection[str],
    *,
    beyond: str | None = None,
    whole: bool = False,
) -> Offer:
    count = width.count + len(seeds)
    later = width.after(count)
    return shop.offer(
        plan, width.pair, seeds, missing, width.narrows(count),
        half=later.half if later else None, beyond=beyond, whole=whole,
    )  # fmt: skip


def _frozen(plan: Plan) -> str:
    return f"the {plan.entry.seeds[plan.scale]} seeds that the recipe froze are there"


def _outdated(plan: Plan, backlog: Backlog, pair: Collection[str]) -> list[str]:
    found = [(run, why) for run, why in backlog.outdated if run.arm in pair]
    if not found:
        return []
    whys = ", ".join(dict.fromkeys(why for _, why in found))
    return [
        f"{len(found)} of its runs are outdated, and new ones may not stand beside them ({whys}): "
        f"they count as missing"
    ]


def _lost(seeds: Collection[int]) -> list[str]:
    if not seeds:
        return []
    return [f"an arm diverged with seed {', '.join(map(str, sorted(seeds)))}: that is no pair"]


def _said(width: Width) -> str:
    now = width.now
    if now.half is None:
        return f"no interval, {_pairs(width.count)}"
    return (
        f"± {now.half:.4f} nats at {_percent(width.level)}, over {_pairs(width.count)} ({now.over})"
    )


def _limits(width: Width) -> list[str]:
    """What the seeds do not hold of the width."""
    floor, now = width.floor, width.now
    if floor is None or floor.half is None or not now.error or floor.error is None:
        return []
    share = min(1.0, (floor.error / now.error) ** 2)
    if share < HELD:
        return []
    held = "tuning holds"
    if floor.shares:
        held = "documents and tuning hold" if floor.tuning else "documents hold"
    return [
        f"no number of seeds is expected to narrow it below ± {floor.half:.4f}: {held} "
        f"{_percent(share)} of its variance"
    ]


def _pairs(count: int) -> str:
    return f"{count} pair" if count == 1 else f"{count} pairs"


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"


def of_ladder(
    shop: Shop,
    plans: Mapping[Scale, Plan],
    shapes: Mapping[Scale, tuple[float, tuple[float, ...]]],
    found: Sequence[Climbed],
    wider: Callable[[Scale, int], Plan],
    unfair: str | None = None,
) -> AskedInterval:
    """The multiplier of a ladder at its target, by one seed more at each rung. `shapes` holds each
    rung's size and budgets, `found` what was run of them, `wider` a rung's plan with n seeds."""
    pair = next(iter(plans.values())).entry.primary.pairs[0]
    at = f"{TARGET.size / 1e6:,.0f}M parameters and {TARGET.tokens / TARGET.size:.0f} tokens each"
    name = f"share of {pair[0]}'s compute that {pair[1]} needs at {at}"
    due, keys, notes, stale = {}, {}, [], set()
    for scale, plan in plans.items():
        backlog = shop.backlog(plan)
        keys[scale] = {run.key for run in backlog.missing}
        due[scale] = sorted({run.seed for run in backlog.missing if run.arm in pair})
        if texts := _outdated(plan, backlog, pair):
            notes += [f"{scale}: {text}" for text in texts]
            stale.add(scale)
    found = [one for one in found if one.scale not in stale]
    there = {one.scale: one for one in found}
    judged, why = _judge(found)
    if unfair is not None:
        notes.append(f"no number of seeds mends that it is not comparable: {unfair}")
    if judged is None:
        offers = [
            shop.offer(plans[scale], pair, seeds, keys[scale], None)
            for scale, seeds in due.items() if seeds
        ]  # fmt: skip
        return AskedInterval(name, f"no interval yet: {why}", tuple(offers), tuple(notes))
    if unfair is not None:
        return AskedInterval(name, _multiplier(judged), (), tuple(notes))
    if judged.does_not_fit[0]:
        notes.append(
            f"the law does not fit these rungs (p = {judged.misfit[0]:.2g}): a narrower interval "
            "of it would be no truer"
        )
    offers = []
    for scale, plan in plans.items():
        one = there.get(scale)
        have, seeds, beyond = len(one.seeds) if one else 0, due[scale], None
        missing, whole = keys[scale], False
        if not seeds:
            first = plan.entry.first_seed
            seeds = [max(first + plan.entry.seeds[scale] - 1, *(one.seeds if one else ())) + 1]
            plan = wider(scale, seeds[0] + 1 - first)
            missing = {run.key for run in plan.runs if run.seed in seeds}
            beyond = _frozen(plans[scale])
        elif have:  # of a rung that was not begun, all its seeds: its forecast is of them
            seeds = seeds[:1]
        size, tokens = shapes[scale]
        ratio = ladder_ratio(judged, TARGET, LADDER_LEVEL, More(size, tokens, have, len(seeds)))[0]
        narrows = None if ratio != ratio else float(1.0 - ratio)
        offers.append(
            shop.offer(plan, pair, seeds, missing, narrows, beyond=beyond, whole=whole)
        )  # fmt: skip
    return AskedInterval(name, _multiplier(judged), tuple(offers), tuple(notes))


def _judge(found: Sequence[Climbed]) -> tuple[ladder.Judged | None, str]:
    if len(found) < FEWEST_RUNGS:
        return None, f"a law needs {FEWEST_RUNGS} rungs at least, and {len(found)} are there"
    try:
        return ladder.judge([one.rung for one in found]), ""
    except ValueError as error:
        return None, str(error)


def _multiplier(judged: ladder.Judged) -> str:
    ends = judged.interval(TARGET, LADDER_LEVEL)
    width = float(ends.high[0] - ends.low[0])
    factor = f"a factor of {math.exp(width):.2f} wide" if width < 3.0 else "open"
    return f"its {_percent(LADDER_LEVEL)} interval is {factor}"
