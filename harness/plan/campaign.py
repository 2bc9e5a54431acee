"""What to run in a limited time on one device: the most informative missing records first.

Pure planning: it starts nothing. The rule, in numbers that are choices and stand here once:

- A **unit** is one seed of one recipe at one scale: the arms that the recipe's question names, or
  the others; all arms together where launches are timed in blocks, or where nothing is asked.
- Its **value** is counted in answers. A question about p pairs is worth sqrt(p) of them, since its
  pairs share arms. There is none below three seeds (for a question of speed: below the blocks
  that its recipe names), so each of the first n is worth an n-th. Later ones only narrow the
  interval, which goes with 1/sqrt(n): the seed after n is worth 1 - sqrt(n / (n + 1)), up to the
  number that the recipe froze; where its pairs were measured here less, by what documents and
  tuning hold of their variance, which seeds do not lessen. What asks no pair (a noise floor, a
  search, a pipeline) is worth half an answer, spread over its seeds; arms that no question names a
  quarter of those it names. A question of speed chooses a setting of ours, and is worth a quarter
  of one about models. `proxy` answers for a model a twentieth the size: half of `full`. A loss
  that is recorded for another device is worth a quarter here: it hardly depends on the device, as
  speed does.
- **Order**: what measures a rate and asks no pair comes first, since every prediction and price
  rests on it; the rest by value per predicted minute, a recipe's seeds in their order.
- **Budget**: a unit that does not fit what is left is passed over. The seeds of a first answer
  are bought together or not at all: two of three answer nothing.
- On a device that is rented nothing is timed at `proxy`: how fast a 5M model is there helps nobody.

What is missing is said by `harness.plan.backlog`, as for `smol run`: what is outdated is missing
too. Of the data, which need not be prepared, the device's records tell.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.config import canonical
from harness.errors import NotInstalled, RequestError, nearest
from harness.evidence.query import Current, Manifests, Recorded
from harness.evidence.widths import Width, widths
from harness.machine import devices
from harness.machine.hardware import Peak, peak_of, peaks
from harness.machine.prices import Price
from harness.plan import backlog as backlogs
from harness.plan import profiles
from harness.plan import runs as planning
from harness.plan.auto import NONE, Evidence
from harness.plan.forecast import Forecast
from harness.plan.resolved import resolve
from harness.plan.runs import Plan, Run, Where
from harness.recipe import Entry, Scale
from harness.records.schema import Record

FIRST_ANSWER = 3
"""Seeds below which nothing is compared."""
UNASKED, UNNAMED, PROXY, ELSEWHERE, SETTING = 0.5, 0.25, 0.5, 0.25, 0.25
"""The worth of what asks no pair, of arms outside the question, of the smaller scale, of losses
that another device has, and of a question of speed."""
MOST_SECONDS, MOST_DIGITS = 366 * 86400.0, 40
PREPARING_SECONDS = 120.0
"""Assumed for data that is needed for the first time: a download, a tokenizer, packing."""


@dataclass(frozen=True)
class Target:
    """What a campaign is planned for."""

    name: str
    """The card's name in hardware.toml, or the CPU's class."""
    kind: str
    """As `--device` takes it."""
    peak: Peak | None
    price: Price | None
    cores: int = 1
    """Cores of the CPU that is beside the card, or that is the target itself."""
    product: str = ""
    """The device's class as keys have it; empty where the device is not at hand."""

    def ran(self, record: Record) -> bool:
        """Whether the record is of this device."""
        found = peak_of(record.hardware.gpu)
        name = found.name if found else record.hardware.device_class
        return (record.device, name) == (self.kind, self.name)


@dataclass(frozen=True)
class Unit:
    """What is started together: missing runs of one seed of one recipe."""

    recipe: str
    scale: Scale
    arms: tuple[str, ...]
    seed: int
    runs: tuple[Run, ...]
    """Missing ones; of launches that are timed in blocks, all of a block of which one is."""
    value: float
    """What the unit is worth, counted in answers."""
    seconds: float | None
    """Predicted; None where no rate is known."""
    basis: str
    """Where the rate comes from."""
    why: str
    first: bool = False
    """Whether it is one of the seeds that a first answer needs all of."""
    rate: bool = False
    """Whether it measures how fast the device is, and asks no pair."""

    @property
    def group(self) -> tuple[str, str, tuple[str, ...]]:
        """The same for all seeds of the same arms."""
        return self.recipe, self.scale, self.arms

    @property
    def identity(self) -> tuple[str, str, int, tuple[str, ...]]:
        """The same for the same work, however much of it is still missing."""
        return self.recipe, self.scale, self.seed, self.arms


@dataclass(frozen=True)
class Slot:
    """A unit with its place in the order."""

    unit: Unit
    seconds: float
    """Predicted, with the preparation of data that nothing before it needed."""
    ends: float
    """Seconds from the start of the campaign to the end of this unit."""
    dollars: float | None


def device_named(text: str) -> Peak:
    """The device of hardware.toml that is meant by its name, the beginning of it (the first of
    several), its number alone (`4090`), or the driver's name for it.

    Raises RequestError for an unknown one.
    """
    known, plain = peaks(), "-".join(text.lower().split())
    begin = [name for name in known if plain and name.startswith(plain)]
    for name in (plain, f"rtx-{plain}", *begin):
        if name in known:
            return known[name][1]
    if (found := peak_of(text)) is not None:
        return found
    raise RequestError(f"no device '{text}' in hardware.toml{nearest(text, known)}")


def seconds_of(text: str, price: Price | None = None) -> float:
    """`40m`, `1h30m`, `90s`; or `5$`, the time that so many dollars buy at the device's price.

    Raises RequestError for another form, for more than a year, and for dollars where the device
    has no price.
    """
    if len(text) > MOST_DIGITS:
        raise RequestError(f"--budget {text[:MOST_DIGITS]}...: a year at most")
    seconds = _seconds_of(text, price)
    if seconds > MOST_SECONDS:
        raise RequestError(f"--budget {text}: a year at most")
    return seconds


def _seconds_of(text: str, price: Price | None) -> float:
    if money := re.fullmatch(r"\$?(\d+(?:\.\d+)?)\$?", text.strip() if "$" in text else ""):
        if price is None:
            raise RequestError(
                f"--budget {text}: this device has no price: give a time, such as 40m"
            )
        return 3600.0 * float(money[1]) / price.value
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text.strip())
    if not found or not any(found.groups()):
        raise RequestError(
            f"--budget takes a time such as 40m or 1h30m, or dollars such as 5$, not '{text}'"
        )
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds


Evidences = Callable[[Scale, str], Evidence]
"""Scale and class of device -> what was timed there, for fields that say `auto`."""


def units(
    entries: Iterable[Entry],
    records: Sequence[Record],
    device: Target,
    current: Callable[[Manifests], Current],
    evidence: Evidences = lambda scale, device_class: NONE,
    say: Callable[[str], None] = lambda text: None,
) -> list[Unit]:
    """Everything that is missing on a device, in no order.

    `current` says what a finished run must agree with, given what is known of the data. A recipe
    whose parts are of a package that is not installed is left out, and `say` told.
    """
    known = Known(records, device, current, evidence)
    found: list[Unit] = []
    on = devices.of(device.kind)
    for entry in entries:
        for scale in on.campaign_scales:
            if scale not in entry.seeds:
                continue
            try:
                recipe = entry.at(scale)
                idle = recipe.timing is not None and scale != "full" and on.rented
                if recipe.runs_on(device.kind) and not idle:
                    found += _of_recipe(entry, scale, device, known)
            except NotInstalled as error:
                say(f"left out {entry.name}: {error}")
    return found


class Known:
    """What the records say to a plan for one device."""

    def __init__(
        self,
        records: Sequence[Record],
        device: Target,
        current: Callable[[Manifests], Current],
        evidence: Evidences,
        *,
        guess: bool = False,
    ) -> None:
        """`guess` as `Forecast` has it."""
        self.here = sorted((r for r in records if device.ran(r)), key=lambda r: r.created)
        self.forecast = Forecast(device.name, device.peak, self.here, guess=guess)
        newest = self.here[-1].hardware.device_class if self.here else device.name
        self.device_class = device.product or newest
        self.data = Recorded(self.here)
        self.current = current(self.data.manifest_digest)
        self._evidence = evidence
        self._widths: dict[tuple[str, str], list[Width]] = {}
        self._elsewhere = {
            (r.recipe, r.scale, r.arm, r.seed, r.stage)
            for r in records
            if r.status == "ok" and not device.ran(r)
        }

    def plan(self, entry: Entry, scale: Scale, device: Target, seeds: int | None = None) -> Plan:
        """The recipe's plan on this device, with so many seeds or those that it froze."""
        profile = profiles.of(device.peak.memory_bytes if device.peak else None)
        evidence = self._evidence(scale, self.device_class)
        resolved = resolve(entry, scale, profile=profile, evidence=evidence)
        where = Where(device.kind, self.device_class)
        return planning.make(resolved, where, self.data.tokenizer_digest, seeds=seeds)

    def missing(self, plan: Plan) -> set[str]:
        """The keys of the runs that `smol run --fresh` would run."""
        backlog = backlogs.sort(plan, self.here, self.current)
        return {run.key for run in backlogs.whole_blocks(backlog.missing, plan)}

    def step(self, plan: Plan, place: int) -> float | None:
        """The share of its standard error that the question's interval is expected to lose by the
        seed after `place`, the mean of its pairs; None where they were not measured here."""
        name = (plan.entry.name, plan.scale)
        if name not in self._widths:
            found = widths(self.here, *name)
            self._widths[name] = [one for one in found if one.count >= FIRST_ANSWER]
        steps = [one.step(place) for one in self._widths[name]]
        shares = [share for share in steps if share is not None]
        return statistics.fmean(shares) if shares else None

    def elsewhere(self, run: Run) -> bool:
        """Whether another device has a record of the same arm, seed and stage."""
        return (run.recipe, run.scale, run.arm, run.seed, run.stage) in self._elsewhere


def _of_recipe(entry: Entry, scale: Scale, device: Target, known: Known) -> list[Unit]:
    plan = known.plan(entry, scale, device)
    keys, found = known.missing(plan), []
    for named, arms in _parts(plan):
        for seed in sorted({run.seed for run in plan.runs}):
            wanted = [run for run in plan.runs if run.seed == seed and run.arm in arms]
            missing = tuple(run for run in wanted if run.key in keys)
            if not missing:
                continue
            place = seed - entry.first_seed
            value, why = _value(plan, named, place, known)
            if plan.recipe.timing is None and all(map(known.elsewhere, wanted)):
                value, why = ELSEWHERE * value, f"{why}, its losses are known of another device"
            together = at_once(plan, missing, device.cores)
            seconds, basis = known.forecast.together(missing, together)
            asks = bool(entry.primary.pairs)
            unit = Unit(
                entry.name, scale, arms, seed, missing, value, seconds, basis, why,
                first=asks and place < _needed(plan),
                rate=plan.recipe.timing is not None and not asks,
            )  # fmt: skip
            found.append(unit)
    return found


def _parts(plan: Plan) -> list[tuple[bool, tuple[str, ...]]]:
    """(whether the question names them, arms): what belongs together."""
    every = tuple(arm.name for arm in plan.arms)
    asked = {arm for pair in plan.entry.primary.pairs for arm in pair}
    if not asked or plan.recipe.timing is not None:
        return [(bool(asked), every)]
    named = tuple(arm for arm in every if arm in asked)
    others = tuple(arm for arm in every if arm not in asked)
    return [(True, named), *([(False, others)] if others else [])]


def at_once(plan: Plan, runs: Sequence[Run], cores: int) -> int:
    """As `smol run` has it: launches that are timed are alone."""
    if plan.recipe.timing is not None:
        return 1
    return devices.of(plan.device).at_once(max(run.config.train.threads for run in runs), cores)


def _value(plan: Plan, named: bool, place: int, known: Known) -> tuple[float, str]:
    """Of the seed at this place (from 0) among those that the recipe froze, and why."""
    frozen = plan.entry.seeds[plan.scale]
    scale = PROXY if plan.scale == "proxy" else 1.0
    if plan.recipe.timing is not None:
        scale *= SETTING
    if not plan.entry.primary.pairs:
        return scale * UNASKED / frozen, f"seed {place + 1} of {frozen}, asks no pair"
    needed = _needed(plan)
    if place < needed:
        value, why = 1.0 / needed, f"seed {place + 1} of {needed} to a first answer"
    else:
        value, why = 1.0 - math.sqrt(place / (place + 1)), f"seed {place + 1}: narrower"
        if named and (step := known.step(plan, place)) is not None:
            value, why = step, f"{why} by {100 * step:.2g} %, as measured"
    if named:
        return scale * value * math.sqrt(len(plan.entry.primary.pairs)), why
    return scale * UNNAMED * value, f"{why}, arms outside the question"


def _needed(plan: Plan) -> int:
    """Seeds, or blocks of launches, below which a question has no answer."""
    timing = plan.recipe.timing
    return min(timing.fewest if timing else FIRST_ANSWER, plan.entry.seeds[plan.scale])


def order(found: Sequence[Unit], price: Price | None = None) -> list[Slot]:
    """The units with a predicted time, the most valuable minute first.

    Those that no rate is known for are left out: they have no place in a budget.
    """
    waiting = [unit for unit in found if unit.seconds is not None]
    prepared: set[str] = set()
    slots: list[Slot] = []
    ends = 0.0
    while waiting:
        ready = [unit for unit in waiting if not any(_before(o, unit) for o in waiting)]
        unit = max(ready, key=lambda u: (u.rate, u.value / _total(u, prepared), u.recipe))
        waiting.remove(unit)
        seconds = _total(unit, prepared)
        prepared |= _data(unit)
        ends += seconds
        dollars = seconds / 3600.0 * price.value if price else None
        slots.append(Slot(unit, seconds, ends, dollars))
    return slots


def within(slots: Sequence[Slot], budget: float) -> list[Slot]:
    """What fits `budget` seconds, in order; what does not is passed over, and with it what must
    come after it."""
    chosen: list[Slot] = []
    passed: list[Unit] = []
    answers = {slot.unit.group: 0.0 for slot in slots}
    for slot in slots:
        answers[slot.unit.group] += slot.seconds if slot.unit.first else 0.0
    begun: set[tuple[str, str, tuple[str, ...]]] = set()
    spent = reserved = 0.0
    for slot in slots:
        unit = slot.unit
        late = any(_before(other, unit) for other in passed)
        new = unit.first and unit.group not in begun
        # An answer that was begun has its seconds set aside, whatever comes between its seeds.
        wanted = answers[unit.group] if new else 0.0 if unit.first else slot.seconds
        if late or spent + reserved + wanted > budget:
            passed.append(unit)
            continue
        if new:
            begun.add(unit.group)
            reserved += wanted
        if unit.first:
            reserved -= slot.seconds
        spent += slot.seconds
        chosen.append(Slot(unit, slot.seconds, spent, slot.dollars))
    return chosen


def _before(first: Unit, second: Unit) -> bool:
    """Whether `first` must come earlier: an earlier seed of the same arms."""
    return first.group == second.group and first.seed < second.seed


def _data(unit: Unit) -> set[str]:
    return {canonical(run.config.data) for run in unit.runs}


def _total(unit: Unit, prepared: set[str]) -> float:
    new = len(_data(unit) - prepared)
    return (unit.seconds or 0.0) + PREPARING_SECONDS * new
