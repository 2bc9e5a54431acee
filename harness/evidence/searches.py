"""Equal searches in the records: the best setting of each arm, and whether a comparison uses it.

Pure: records in, reasons out; `tuning_tables` prints a search. A search's own axes are `rate` and
`decay`, and `form` where it has one (`harness.optim.tuning`); what its other axes say is the arm
that it tunes.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness.config import identity
from harness.evidence.sections import Section
from harness.optim.tuning import (
    DECAY,
    FORM,
    FORMS,
    OWN,
    RATE,
    is_decay,
    is_read,
    is_setting,
    names_number,
    number,
)
from harness.records.schema import Record
from harness.records.store import path_of
from harness.stats.surface import Axis

BUDGET = ("train.tokens", "train.eval_every")
"""The fields in which a search may differ from the comparison that uses it: it may be shorter."""
SCORED = ("data.val_tokens", "data.val_document_tokens", "data.second")
"""And what is scored: it may choose by fewer documents, and by no second text."""
EDGE_NOISE = 0.022
"""Nats a token, twice the spread of pairs of runs in the tuned comparisons at `proxy`: a best point
at an edge that leads by less may be there by luck."""
UNTUNED = "untuned"
EDGE = "optimum at the edge"
OTHER = "not the search's optimum"
TUNED = "tuned"


@dataclass(frozen=True)
class Point:
    """One setting of one arm, over the search's seeds."""

    rate: str
    decay: str
    form: str
    """The values' names, as the recipe wrote them; no form is empty."""
    arm: str
    """The search's own name for it: `dense-x2-wd0.1`."""
    fields: Mapping[str, Any]
    """The configuration, by dotted path."""
    losses: tuple[float, ...]
    """Validation loss at the horizon, a seed each."""
    diverged: bool
    """Some seed's loss was not finite: worse than any that was measured."""
    missing: int
    """Seeds of the frozen number that neither ended nor diverged."""
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        """`x2, wd0.1`."""
        return f"{self.rate}, {self.row}"

    @property
    def row(self) -> str:
        """What it has beside its rate: `wd0.1`, or `wd0.1, b99`."""
        return ", ".join(filter(None, (self.decay, self.form)))

    @property
    def loss(self) -> float:
        """The mean over seeds; infinite where one diverged."""
        return float("inf") if self.diverged else statistics.fmean(self.losses)

    @property
    def place(self) -> tuple[float, float]:
        """Where it stands in the grid: the numbers of its rate and its weight decay."""
        return number(self.rate), number(self.decay)

    def reads(self, path: str) -> bool:
        """Whether its optimizer reads a field: of settings of its own those alone."""
        return path.startswith(OWN) or not any(p.startswith(OWN) for p in self.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """What a search varies, by dotted path."""
        return settings_of(self.fields)


def settings_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The learning rates, weight decays and what else a form may set that the optimizer reads."""
    return {
        path: float(value) if is_setting(path) else value
        for path, value in fields.items()
        if (is_setting(path) or path in FORMS) and is_read(fields["optim.name"], path)
    }


@dataclass(frozen=True)
class Search:
    """The grid of one arm."""

    arm: str
    points: tuple[Point, ...]
    """Rates ascending, then weight decays, then forms."""
    expected: int
    """Settings that the recipe asks for."""
    wider: Search | None = None
    """The same arm's grid in the search that this one looked closer about."""

    @property
    def measured(self) -> int:
        """Settings of which every seed ended or diverged."""
        return sum(point.missing == 0 for point in self.points)

    @property
    def best(self) -> Point | None:
        """The lowest mean loss, once every setting is measured; None where all diverged too."""
        if self.measured < self.expected or all(point.diverged for point in self.points):
            return None
        return min(self.points, key=lambda point: point.loss)

    @property
    def neighbours(self) -> tuple[Axis, ...]:
        """Along each axis on which the best setting has a neighbour on both sides, the
        losses of the three."""
        found = [self._speaker(axis)._beside(axis) for axis in (0, 1)]
        return tuple(three for three in found if three)

    @property
    def _alike(self) -> list[Point]:
        """The points of the best one's form."""
        return [p for p in self.points if self.best is not None and p.form == self.best.form]

    def _speaker(self, axis: int) -> Search:
        """The grid that speaks of an axis: the wider one where this holds nothing but the value
        that the wider found best."""
        if self.wider is None or (best := self.wider.best) is None:
            return self
        return self.wider if {p.place[axis] for p in self.points} == {best.place[axis]} else self

    def _beside(self, axis: int) -> Axis | None:
        if (best := self.best) is None:
            return None
        like = {p.place: p.loss for p in self._alike if not p.diverged}
        line = sorted(p for p in like if p[1 - axis] == best.place[1 - axis])
        at = line.index(best.place)
        inside = 0 < at < len(line) - 1
        return (like[line[at - 1]], best.loss, like[line[at + 1]]) if inside else None

    def _flat(self, axis: int) -> bool:
        """Whether the best setting, at an edge of an axis, beats the best inside it by no more than
        noise: then the direction is flat, and its edge no limit."""
        best = self.best
        ends = [point.place[axis] for point in self._alike]
        inside = [
            p.loss for p in self._alike if min(ends) < p.place[axis] < max(ends) and not p.diverged
        ]
        return best is not None and bool(inside) and min(inside) - best.loss <= EDGE_NOISE

    @property
    def edges(self) -> tuple[str, ...]:
        """The sides on which the best setting has no neighbour, and is better than those inside by
        more than noise. Weight decay 0 is a natural bound."""
        return tuple(side for axis in (0, 1) for side in self._speaker(axis)._sides(axis))

    def _sides(self, axis: int) -> list[str]:
        best = self.best
        if best is None or self._flat(axis):
            return []
        name, what = ((best.rate, "rate"), (best.decay, "weight decay"))[axis]
        values = [point.place[axis] for point in self._alike]
        found = []
        if best.place[axis] == max(values):
            found.append(f"{name} is the highest {what} searched")
        if best.place[axis] == min(values) and best.place[axis]:
            found.append(f"{name} is the lowest {what} searched")
        return found


@lru_cache  # asked for by each arm of each pair
def searches(section: Section) -> Mapping[str, Search]:
    """Arm -> its grid, of a search's section; in the recipe's order."""
    group, question = section.group, section.group.question
    wider = searches(section.search) if section.search is not None else {}
    by_arm: dict[str, list[Record]] = {}
    for record in group.records:
        by_arm.setdefault(record.arm, []).append(record)
    found: dict[str, list[Point]] = {}
    for name, records in by_arm.items():
        values = records[0].arm_values
        if _searched(values) and name in question.arms:
            point = _point(section, name, records)
            found.setdefault(_tuned_arm(values), []).append(point)
    asked = _asked(question.arms, found, by_arm)
    places = {name: place for place, name in enumerate(question.arms)}
    order = sorted(found, key=lambda arm: min(places[point.arm] for point in found[arm]))
    return {
        arm: Search(
            arm,
            tuple(sorted(found[arm], key=lambda point: (*point.place, point.form))),
            asked[arm],
            wider.get(arm),
        )
        for arm in order
    }


def _searched(values: Mapping[str, str]) -> bool:
    """Whether an arm is a point of a search: it has a rate and a decay or a form, and numbers in
    the names of the first two. A recipe of one's own may call an axis `rate` with other values."""
    numbers = [values[axis] for axis in (RATE, DECAY) if axis in values]
    beside = DECAY in values or FORM in values
    return RATE in values and beside and all(map(names_number, numbers))


def _tuned_arm(values: Mapping[str, str]) -> str:
    return "-".join(v for axis, v in values.items() if axis not in (RATE, DECAY, FORM)) or "base"


def _asked(
    arms: Sequence[str], found: Mapping[str, list[Point]], by_arm: Mapping[str, list[Record]]
) -> dict[str, int]:
    """Settings asked for each arm: an arm without a record is known by its name alone. What stands
    there beside the tuned arm's name are rates and decays, which have numbers, or forms of which
    others have records; `dense-small-x2` is no setting of `dense`."""
    asked = {arm: len(points) for arm, points in found.items()}
    prefixes = {arm: "" if arm == "base" else f"{arm}-" for arm in found}
    forms = {point.form for points in found.values() for point in points} - {""}

    def may_be(rest: str) -> bool:
        return bool(forms) or all(re.search(r"\d", part) for part in rest.split("-"))

    for name in arms:
        if name not in by_arm:
            fitting = [
                arm
                for arm, prefix in prefixes.items()
                if name.startswith(prefix) and may_be(name.removeprefix(prefix))
            ]
            if fitting:
                asked[max(fitting, key=lambda arm: len(prefixes[arm]))] += 1
    return asked


def _point(section: Section, name: str, records: list[Record]) -> Point:
    question = section.group.question
    rows = [e for e in section.group.reached(name, question.at) if e.seed in question.frozen_seeds]
    ended = {end.seed for end in rows}
    diverged = {r.seed for r in records if r.status == "diverged"} - ended
    missing = set(question.frozen_seeds) - ended - diverged
    bad = [path_of(r) for r in records if r.status == "diverged" and r.seed in diverged]
    values, fields = records[0].arm_values, identity(records[0].config)
    return Point(
        rate=values[RATE],
        decay=values.get(DECAY) or _decay(fields),
        form=values.get(FORM, ""),
        arm=name,
        fields=fields,
        losses=tuple(end.val_loss for end in rows),
        diverged=bool(diverged),
        missing=len(missing),
        paths=(*(end.path for end in rows), *bad),
    )


def _decay(fields: Mapping[str, Any]) -> str:
    """The name of the weight decay of an arm whose search has no axis of it."""
    return f"wd{max((float(v) for path, v in fields.items() if is_decay(path)), default=0.0):g}"


# -- what a comparison makes of it --------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """Whether one arm of a comparison uses what the search found for it."""

    kind: str
    """UNTUNED, OTHER, EDGE or TUNED."""
    detail: str


def chain(section: Section) -> list[Section]:
    """The searches behind a comparison: the one that its settings come from, then the wider one
    that that looked closer about, which speaks for the arms that the first leaves out."""
    first = section.search
    return [] if first is None else [first, *([first.search] if first.search else [])]


def standing(section: Section, arm: str) -> Standing:
    """An arm of a comparison against the search that its section found beside it."""
    used = next((r for r in section.group.records if r.arm == arm), None)
    if section.search is None or used is None:
        return Standing(UNTUNED, "")
    behind = [one for one in chain(section) if arm in searches(one)]
    if not behind:
        return Standing(UNTUNED, f"{section.search.recipe} has no {arm}")
    name, one = behind[0].recipe, searches(behind[0])[arm]
    best = one.best
    if best is None:
        return Standing(UNTUNED, f"{name} measured {one.measured} of {one.expected} for {arm}")
    ours = identity(used.config)
    strange = _strange(ours, best.fields)
    if strange:
        return Standing(UNTUNED, f"{name} ran {arm} with other {', '.join(strange)}")
    if (own := settings_of(ours)) != best.settings:
        same = [point.name for point in one.points if point.settings == own]
        differing = [
            f"{field.removeprefix('optim.')} {mine:g}"
            if isinstance(mine, float)
            else f"{field.removeprefix('optim.')} {mine}"
            for field, mine in own.items()
            if mine != best.settings.get(field)
        ]
        shown = same[0] if same else " and ".join(differing)
        return Standing(OTHER, f"{arm} uses {shown}, found {best.name}")
    if one.edges:
        return Standing(EDGE, f"{arm}: {' and '.join(one.edges)}")
    return Standing(TUNED, f"{arm} {best.name}")


def _strange(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Fields outside a search's business in which its runs differ from the comparison's."""
    spared = {*BUDGET, *SCORED, *FORMS}
    paths = [p for p in {**ours, **theirs} if p not in spared and not is_setting(p)]
    return [path for path in paths if ours.get(path) != theirs.get(path)]


def reason(section: Section, arms: Sequence[str]) -> str | None:
    """Why a verdict on these arms is not one between tuned arms; None where it is, or where the
    settings that a search would choose are all that the arms differ in: they are the question."""
    differ = {field for r in section.group.records if r.arm in arms for field in r.diff}
    if differ and all(map(is_setting, differ)):
        return None
    found = [standing(section, arm) for arm in arms]
    for kind in (UNTUNED, OTHER, EDGE):
        if bad := [s for s in found if s.kind == kind]:
            details = "; ".join(dict.fromkeys(s.detail for s in bad if s.detail))
            return f"{kind} ({details})" if details else kind
    return None


def neighbours(section: Section) -> dict[str, tuple[Axis, ...]]:
    """Arm -> the losses about the setting that the searches behind a comparison chose for it."""
    known: dict[str, Search] = {}
    for search in reversed(chain(section)):  # the nearest has the last word
        known |= searches(search)
    return {arm: found for arm, one in known.items() if (found := one.neighbours)}


def summary(section: Section) -> str:
    """How the arms' settings were chosen, for the scope."""
    if is_bundle(section):
        return "none: a bundle's settings are as published"
    if searches(section):
        wider = section.search
        return "this is the search" + (f", about what {wider.name} found" if wider else "")
    if section.search is None:
        return "none: another setting may suit an arm better"
    found = [standing(section, arm) for arm in section.group.question.arms]
    parts = [
        f"{kind}: {'; '.join(dict.fromkeys(s.detail for s in found if s.kind == kind))}"
        for kind in (TUNED, EDGE, OTHER, UNTUNED)
        if any(s.kind == kind for s in found)
    ]
    by = " and ".join(f"{one.name} ({_how(section, one)})" for one in chain(section))
    return f"by {by}: {'. '.join(parts)}"


def _how(section: Section, search: Section) -> str:
    """What a search stands on, as far as it may differ from the comparison."""
    at = search.group.question.at
    budgets = sorted({end.tokens for end in search.group.ends if end.horizon == at})
    tokens = " to ".join(f"{n:,}" for n in dict.fromkeys([*budgets[:1], *budgets[-1:]]))
    code = "" if search.group.code == section.group.code else ", under other code"
    seeds = ", ".join(map(str, search.group.seeds))
    word = "seed" if len(search.group.seeds) == 1 else "seeds"
    return f"{tokens or 'no'} tokens, {word} {seeds}{code}"


def is_bundle(section: Section) -> bool:
    """Whether arms are bundles, in which several things differ at once."""
    return section.role == "bundle"


def evidence(section: Section) -> list[str]:
    """The search's records behind `summary`."""
    return [path_of(record) for one in chain(section) for record in one.group.records]
