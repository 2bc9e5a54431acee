"""The view `tuning`: an equal search's losses, and the best setting of each arm."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from harness.config import Frozen
from harness.evidence.searches import EDGE, Point, Search, searches
from harness.evidence.sections import Section
from harness.optim.tuning import is_rate
from harness.report.columns import Found, Measure, given, tabulate, text
from harness.report.draw import Figure, Shown, figure_of
from harness.report.table import ABSENT, Cell, Table, estimate, plain
from harness.report.views.loss import LOSS_DIGITS
from harness.stats.inference import t_interval


class Grid(Frozen):
    """The losses of one arm's search."""

    arm: str
    decays: tuple[str, ...]
    """Weight decays, each with its form where there are some."""
    losses: tuple[tuple[float | None, ...], ...]
    """(weight decays, rates), nats a token; None where no seed ended."""
    diverged: tuple[tuple[int, int], ...]
    """(weight decay, rate) of settings of which a seed's loss was not finite."""
    best: tuple[int, int] | None
    """(weight decay, rate) of the lowest loss; None while the search is not complete."""


class Grids(Shown):
    """All that the figure shows."""

    rates: tuple[str, ...]
    grids: tuple[Grid, ...]


def tables(section: Section) -> list[Table]:
    """The grid's losses, and the best setting of each arm."""
    found = list(searches(section).values())
    if not found:
        return []
    return [_grid(section, found), _optima(section, found)]


def _grid(section: Section, found: Sequence[Search]) -> Table:
    question = section.group.question
    return tabulate(
        f"{section.name}.tuning",
        f"The search: validation loss at horizon `{question.at}`, mean over seeds "
        f"({', '.join(map(str, question.frozen_seeds))}) ± half-width of its 95 % t interval "
        f"(number of seeds), by factor on {_rates(found)} and by weight decay{_decays(found)}.",
        "arm, weight decay",
        [_at_rate(rate) for rate in _names(found, 0)],
        [(f"{one.arm}, {decay}", (one, decay)) for one in found for decay in _names([one], 1)],
        notes=("best: the lowest of its arm.",),
        command=section.group.command,
    )


def _at_rate(rate: str) -> Measure[tuple[Search, str]]:
    def cell(row: tuple[Search, str]) -> Cell:
        one, decay = row
        what = f"validation loss of {one.arm} at {rate}, {decay}, nats a token"
        point = next((p for p in one.points if (p.rate, p.row) == (rate, decay)), None)
        if point is not None and point.diverged:
            return plain("diverged", point.paths, what, "a seed's loss was not finite")
        losses, files = (point.losses, point.paths) if point else ((), ())
        found = estimate(t_interval(losses), files, what, "seeds", digits=LOSS_DIGITS)
        best = point is not None and point is one.best
        return dataclasses.replace(found, text=f"{found.text} best") if best else found

    return given(rate, cell, "nats/token")


def figure(section: Section) -> Figure | None:
    """The search as a map an arm."""
    return figure_of(
        section,
        "tuning.figure",
        grids(section),
        "loss at each rate and weight decay",
        "The search as a map: validation loss by factor on both learning rates and by weight "
        "decay, the best of each arm framed. The panels share their colours.",
    )


def grids(section: Section) -> Grids | None:
    """The figure's data; None where there is no search."""
    found = list(searches(section).values())
    if not found:
        return None
    rates = _names(found, 0)
    return Grids(
        title=section.title,
        rates=tuple(rates),
        grids=tuple(_drawn(one, rates) for one in found),
    )


def _drawn(one: Search, rates: Sequence[str]) -> Grid:
    decays = _names([one], 1)
    points = {(decays.index(p.row), rates.index(p.rate)): p for p in one.points}
    means = {place: p.loss for place, p in points.items() if p.losses and not p.diverged}
    return Grid(
        arm=one.arm,
        decays=tuple(decays),
        losses=tuple(
            tuple(means.get((row, column)) for column in range(len(rates)))
            for row in range(len(decays))
        ),
        diverged=tuple(place for place, p in points.items() if p.diverged),
        best=next((place for place, p in points.items() if p is one.best), None),
    )


def _names(found: Sequence[Search], axis: int) -> list[str]:
    """The names of the rates (0), or of the weight decays and forms (1), in the order of their
    numbers."""
    every = (p for one in found for p in one.points)
    points = sorted(every, key=lambda p: (p.place[axis], p.form))
    return list(dict.fromkeys((p.rate, p.row)[axis] for p in points))


def _fields(found: Sequence[Search]) -> list[str]:
    """The learning rates among the fields of some point."""
    points = [point for one in found for point in one.points]
    return [p for p in dict.fromkeys(p for one in points for p in one.settings) if is_rate(p)]


def _rates(found: Sequence[Search]) -> str:
    ours = len(_fields(found)) == 2  # Muon's and AdamW's
    return "both learning rates" if ours else "where the learning rates of each optimizer start"


def _decays(found: Sequence[Search]) -> str:
    share = any(point.decay.startswith("share") for one in found for point in one.points)
    return (
        " (`share`: the part of a weight that goes in an update at the peak rate)" if share else ""
    )


def _optima(section: Section, found: Sequence[Search]) -> Table:
    return tabulate(
        f"{section.name}.optimum",
        "The best setting of each arm, and whether the grid goes on beyond it on every side. "
        "Weight decay 0 is a natural bound.",
        "arm",
        _optimum(found),
        [(one.arm, one) for one in found],
        command=section.group.command,
    )


def _every(one: Search) -> list[str]:
    return [path for point in one.points for path in point.paths]


def _of_best(
    name: str, what: str, value: Callable[[Point], str], unit: str = "", *, left: bool = False
) -> Measure[Search]:
    def values(one: Search) -> Found:
        return [(value(one.best) if one.best else ABSENT, _every(one))]

    how = text("of the setting with the lowest mean loss")
    return Measure(name, what, values, how, unit, left)


def _judged(one: Search) -> str:
    if one.best is not None:
        return f"{EDGE}: {' and '.join(one.edges)}" if one.edges else "interior"
    complete = one.measured == one.expected
    return "none: every setting diverged" if complete else "not known: the search is not complete"


def _rate_of(path: str) -> Measure[Search]:
    name = path.split(".")[-1]
    of = {"muon_lr": "Muon's learning rate", "adamw_lr": "AdamW's learning rate"}

    def value(best: Point) -> str:
        rate = best.settings.get(path)
        return ABSENT if rate is None or not best.reads(path) else f"{rate:.3g}"

    return _of_best(name, of.get(name, f"the optimizer's own setting `{name}`"), value)


def _optimum(found: Sequence[Search]) -> list[Measure[Search]]:
    """The columns, of which those of learning rates are as many as some arm has."""
    return [
        _of_best("rate", f"factor on {_rates(found)}", lambda best: best.rate, left=True),
        _of_best("weight_decay", "weight decay", lambda best: best.row, left=True),
        *map(_rate_of, _fields(found)),
        *ENDED,
    ]


def _count(one: Search) -> str:
    return f"{one.measured} of {one.expected}" if one.measured else "none yet"


ENDED: tuple[Measure[Search], ...] = (
    _of_best(
        "val_loss", "mean validation loss, nats a token",
        lambda best: f"{best.loss:.{LOSS_DIGITS}f}", "nats/token",
    ),
    Measure(
        "measured", "settings whose seeds ended",
        lambda one: [(_count(one), _every(one))], text("count"), "settings",
    ),
    Measure(
        "optimum", "whether the best setting is inside the grid",
        lambda one: [(_judged(one), _every(one))], text("by its neighbours"), left=True,
    ),
)  # fmt: skip
