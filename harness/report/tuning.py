"""The view `tuning`: an equal search's losses and best settings; and whether arms use them.

Pure: records in, tables and reasons out. A search's own axes are `rate` and `decay`
(`harness.tuning`); what its other axes say is the arm that it tunes. May not import torch.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config import NEUTRAL_FIELDS, flatten
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.frame import Section
from harness.report.statistics import t_interval
from harness.report.tables import Cell, Column, Row, Table, estimate, plain
from harness.tuning import DECAY, DECAYS, FIELDS, RATE, RATES

LOSS_DIGITS = 4
BUDGET = ("train.tokens", "train.eval_every")
"""In these a search may differ from the comparison that uses it: it may be shorter."""
BUNDLE = "bundle"
"""The axis of a recipe whose arms differ in several things at once."""
UNTUNED = "untuned"
EDGE = "optimum at the edge"
OTHER = "not the search's optimum"
TUNED = "tuned"


@dataclass(frozen=True)
class Point:
    """One setting of one arm, over the search's seeds."""

    rate: str
    decay: str
    """The values' names, as the recipe wrote them."""
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
        return f"{self.rate}, {self.decay}"

    @property
    def loss(self) -> float:
        """The mean over seeds; infinite where one diverged."""
        return float("inf") if self.diverged else statistics.fmean(self.losses)

    def setting(self, fields: Sequence[str]) -> tuple[float, ...]:
        """The values of dotted fields."""
        return tuple(float(self.fields[field]) for field in fields)


@dataclass(frozen=True)
class Search:
    """The grid of one arm."""

    arm: str
    points: tuple[Point, ...]
    """Rates ascending, then weight decays."""
    expected: int
    """Settings that the recipe asks for."""

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
    def edges(self) -> tuple[str, ...]:
        """On which sides the best setting has no neighbour. Weight decay 0 is a natural bound."""
        if (best := self.best) is None:
            return ()
        found = []
        for fields, name, what in (
            (RATES, best.rate, "rate"),
            (DECAYS, best.decay, "weight decay"),
        ):
            values = sorted({point.setting(fields) for point in self.points})
            own = best.setting(fields)
            if own == values[-1]:
                found.append(f"{name} is the highest {what} searched")
            if own == values[0] and any(own):
                found.append(f"{name} is the lowest {what} searched")
        return tuple(found)


def searches(section: Section) -> dict[str, Search]:
    """Arm -> its grid, of a search's section; in the recipe's order."""
    group, question = section.group, section.group.question
    by_arm: dict[str, list[Record]] = {}
    for record in group.records:
        by_arm.setdefault(record.arm, []).append(record)
    found: dict[str, list[Point]] = {}
    for name, records in by_arm.items():
        values = records[0].arm_values
        if {RATE, DECAY} <= set(values) and name in question.arms:
            point = _point(section, name, records)
            found.setdefault(_tuned_arm(values), []).append(point)
    asked = _asked(question.arms, found, by_arm)
    places = {name: place for place, name in enumerate(question.arms)}
    order = sorted(found, key=lambda arm: min(places[point.arm] for point in found[arm]))
    return {
        arm: Search(
            arm,
            tuple(sorted(found[arm], key=lambda p: (p.setting(RATES), p.setting(DECAYS)))),
            asked[arm],
        )
        for arm in order
    }


def _tuned_arm(values: Mapping[str, str]) -> str:
    return "-".join(v for axis, v in values.items() if axis not in (RATE, DECAY)) or "base"


def _asked(
    arms: Sequence[str], found: Mapping[str, list[Point]], by_arm: Mapping[str, list[Record]]
) -> dict[str, int]:
    """Settings asked for each arm: an arm without a record is known by its name alone."""
    asked = {arm: len(points) for arm, points in found.items()}
    prefixes = {arm: "" if arm == "base" else f"{arm}-" for arm in found}
    for name in arms:
        if name not in by_arm:
            fitting = [arm for arm, prefix in prefixes.items() if name.startswith(prefix)]
            if fitting:
                asked[max(fitting, key=lambda arm: len(prefixes[arm]))] += 1
    return asked


def _point(section: Section, name: str, records: list[Record]) -> Point:
    question = section.group.question
    rows = section.group.reached(name, question.at)
    rows = rows[rows["seed"].isin(question.frozen_seeds)]
    ended = set(rows["seed"])
    diverged = {r.seed for r in records if r.status == "diverged"} - ended
    missing = set(question.frozen_seeds) - ended - diverged
    bad = [path_of(r) for r in records if r.status == "diverged" and r.seed in diverged]
    values = records[0].arm_values
    return Point(
        rate=values[RATE],
        decay=values[DECAY],
        arm=name,
        fields=flatten(records[0].config),
        losses=tuple(rows["val_loss"]),
        diverged=bool(diverged),
        missing=len(missing),
        paths=(*rows["path"], *bad),
    )


# -- what a comparison makes of it --------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """Whether one arm of a comparison uses what the search found for it."""

    kind: str
    """UNTUNED, OTHER, EDGE or TUNED."""
    detail: str


def standing(section: Section, arm: str) -> Standing:
    """An arm of a comparison against the search that its section found beside it."""
    used = next((r for r in section.group.records if r.arm == arm), None)
    if section.search is None or used is None:
        return Standing(UNTUNED, "")
    name = section.search.recipe
    one = searches(section.search).get(arm)
    if one is None:
        return Standing(UNTUNED, f"{name} has no {arm}")
    best = one.best
    if best is None:
        return Standing(UNTUNED, f"{name} measured {one.measured} of {one.expected} for {arm}")
    ours = flatten(used.config)
    strange = _strange(ours, best.fields)
    if strange:
        return Standing(UNTUNED, f"{name} ran {arm} with other {', '.join(strange)}")
    if (own := tuple(float(ours[field]) for field in FIELDS)) != best.setting(FIELDS):
        same = [point.name for point in one.points if point.setting(FIELDS) == own]
        differing = [
            f"{field.removeprefix('optim.')} {mine:g}"
            for field, mine, found in zip(FIELDS, own, best.setting(FIELDS), strict=True)
            if mine != found
        ]
        shown = same[0] if same else " and ".join(differing)
        return Standing(OTHER, f"{arm} uses {shown}, found {best.name}")
    if one.edges:
        return Standing(EDGE, f"{arm}: {' and '.join(one.edges)}")
    return Standing(TUNED, f"{arm} {best.name}")


def _strange(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Fields outside a search's business in which its runs differ from the comparison's."""
    left_out = {*FIELDS, *BUDGET, *NEUTRAL_FIELDS}
    paths = [path for path in {**ours, **theirs} if path not in left_out]
    return [path for path in paths if ours.get(path) != theirs.get(path)]


def reason(section: Section, arms: Sequence[str]) -> str | None:
    """Why a verdict on these arms is not one between tuned arms; None where it is."""
    found = [standing(section, arm) for arm in arms]
    for kind in (UNTUNED, OTHER, EDGE):
        if bad := [s for s in found if s.kind == kind]:
            details = "; ".join(dict.fromkeys(s.detail for s in bad if s.detail))
            return f"{kind} ({details})" if details else kind
    return None


def summary(section: Section) -> str:
    """How the arms' settings were chosen, for the scope."""
    if is_bundle(section):
        return "none: a bundle's settings are as published"
    if section.search is None:
        if searches(section):
            return "this is the search"
        return "none: another setting may suit an arm better"
    found = [standing(section, arm) for arm in section.group.question.arms]
    parts = [
        f"{kind}: {'; '.join(dict.fromkeys(s.detail for s in found if s.kind == kind))}"
        for kind in (TUNED, EDGE, OTHER, UNTUNED)
        if any(s.kind == kind for s in found)
    ]
    return f"by {section.search.name} ({_how(section, section.search)}): {'. '.join(parts)}"


def _how(section: Section, search: Section) -> str:
    """What a search stands on, as far as it may differ from the comparison."""
    rows = search.group.ends[search.group.ends["horizon"] == search.group.question.at]
    budgets = sorted(set(rows["tokens"]))
    tokens = " to ".join(f"{n:,}" for n in dict.fromkeys([*budgets[:1], *budgets[-1:]]))
    code = "" if search.group.code == section.group.code else ", under other code"
    seeds = ", ".join(map(str, search.group.seeds))
    return f"{tokens or 'no'} tokens, seed {seeds}{code}"


def is_bundle(section: Section) -> bool:
    """Whether arms are bundles, in which several things differ at once: an axis `bundle`."""
    return any(BUNDLE in record.arm_values for record in section.group.records)


def evidence(section: Section) -> list[str]:
    """The search's records behind `summary`."""
    if section.search is None:
        return []
    return [path_of(record) for record in section.search.group.records]


# -- tables -------------------------------------------------------------------------------------


def tables(section: Section) -> list[Table]:
    """The grid's losses, and the best setting of each arm."""
    found = list(searches(section).values())
    if not found:
        return []
    return [_grid(section, found), _optima(section, found)]


def _grid(section: Section, found: Sequence[Search]) -> Table:
    rates = _names(found, RATES, lambda p: p.rate)
    rows = []
    for one in found:
        for decay in _names([one], DECAYS, lambda p: p.decay):
            cells = [_loss(one, rate, decay) for rate in rates]
            rows.append(Row(f"{one.arm}, {decay}", tuple(cells)))
    question = section.group.question
    return Table(
        name=f"{section.name}.tuning",
        caption=(
            f"The search: validation loss at horizon `{question.at}`, mean over seeds "
            f"({', '.join(map(str, question.frozen_seeds))}) ± half-width of its 95 % t interval "
            "(number of seeds), by factor on both learning rates and by weight decay."
        ),
        corner="arm, weight decay",
        columns=tuple(Column(rate, "nats/token") for rate in rates),
        rows=tuple(rows),
        notes=("best: the lowest of its arm.",),
        command=section.group.command,
    )


def _names(
    found: Sequence[Search], fields: Sequence[str], name: Callable[[Point], str]
) -> list[str]:
    """The values' names along an axis, in the order of what they set."""
    points = [point for one in found for point in one.points]
    return list(dict.fromkeys(name(p) for p in sorted(points, key=lambda p: p.setting(fields))))


def _loss(one: Search, rate: str, decay: str) -> Cell:
    metric = f"validation loss of {one.arm} at {rate}, {decay}, nats a token"
    point = next((p for p in one.points if (p.rate, p.decay) == (rate, decay)), None)
    if point is None:
        return estimate(t_interval([]), [], metric, "seeds", digits=LOSS_DIGITS)
    if point.diverged:
        return plain("diverged", point.paths, metric, "a seed's loss was not finite")
    value = t_interval(list(point.losses))
    cell = estimate(value, point.paths, metric, "seeds", digits=LOSS_DIGITS)
    if point is not one.best:
        return cell
    return dataclasses.replace(cell, text=f"{cell.text} best")


def _optima(section: Section, found: Sequence[Search]) -> Table:
    return Table(
        name=f"{section.name}.optimum",
        caption=(
            "The best setting of each arm, and whether the grid goes on beyond it on every side. "
            "Weight decay 0 is a natural bound."
        ),
        corner="arm",
        columns=(
            Column("rate", left=True),
            Column("weight_decay", left=True),
            Column("muon_lr"),
            Column("adamw_lr"),
            Column("val_loss", "nats/token"),
            Column("measured", "settings"),
            Column("optimum", left=True),
        ),
        rows=tuple(Row(one.arm, _optimum(one)) for one in found),
        command=section.group.command,
    )


def _optimum(one: Search) -> tuple[Cell, ...]:
    every = [path for point in one.points for path in point.paths]
    best, how = one.best, "of the setting with the lowest mean loss"
    texts = ["–"] * 5
    judged = "not known: the search is not complete"
    if best is not None:
        muon_lr, adamw_lr = best.setting(RATES)
        texts = [best.rate, best.decay, f"{muon_lr:g}", f"{adamw_lr:g}"]
        texts.append(f"{best.loss:.{LOSS_DIGITS}f}")
        judged = f"{EDGE}: {' and '.join(one.edges)}" if one.edges else "interior"
    elif one.measured == one.expected:
        judged = "none: every setting diverged"
    whats = ["factor on both learning rates", "weight decay", "Muon's learning rate",
             "AdamW's learning rate", "mean validation loss, nats a token"]  # fmt: skip
    return (
        *(plain(text, every, what, how) for text, what in zip(texts, whats, strict=True)),
        plain(f"{one.measured} of {one.expected}", every, "settings whose seeds ended", "count"),
        plain(judged, every, "whether the best setting is inside the grid", "by its neighbours"),
    )
