"""The view `tuning`: an equal search's losses, and the best setting of each arm."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from harness.config import Frozen
from harness.evidence.searches import EDGE, Point, Search, searches
from harness.evidence.sections import Section
from harness.optim.tuning import DECAYS, RATES
from harness.report.columns import Found, Measure, given, tabulate, text
from harness.report.draw import Figure, Shown, figure_of
from harness.report.table import ABSENT, Cell, Table, estimate, plain
from harness.report.views.loss import LOSS_DIGITS
from harness.stats.inference import t_interval


class Grid(Frozen):
    """The losses of one arm's search."""

    arm: str
    losses: tuple[tuple[float | None, ...], ...]
    """(weight decays, rates), nats a token; None where no seed ended."""
    diverged: tuple[tuple[int, int], ...]
    """(weight decay, rate) of settings of which a seed's loss was not finite."""
    best: tuple[int, int] | None
    """(weight decay, rate) of the lowest loss; None while the search is not complete."""


class Grids(Shown):
    """All that the figure shows."""

    rates: tuple[str, ...]
    decays: tuple[str, ...]
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
        "(number of seeds), by factor on both learning rates and by weight decay.",
        "arm, weight decay",
        [_at_rate(rate) for rate in _names(found, RATES, lambda p: p.rate)],
        [
            (f"{one.arm}, {decay}", (one, decay))
            for one in found
            for decay in _names([one], DECAYS, lambda p: p.decay)
        ],
        notes=("best: the lowest of its arm.",),
        command=section.group.command,
    )


def _at_rate(rate: str) -> Measure[tuple[Search, str]]:
    def cell(row: tuple[Search, str]) -> Cell:
        one, decay = row
        what = f"validation loss of {one.arm} at {rate}, {decay}, nats a token"
        point = next((p for p in one.points if (p.rate, p.decay) == (rate, decay)), None)
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
    rates = _names(found, RATES, lambda p: p.rate)
    decays = _names(found, DECAYS, lambda p: p.decay)
    return Grids(
        title=section.title,
        rates=tuple(rates),
        decays=tuple(decays),
        grids=tuple(_drawn(one, rates, decays) for one in found),
    )


def _drawn(one: Search, rates: Sequence[str], decays: Sequence[str]) -> Grid:
    points = {(decays.index(p.decay), rates.index(p.rate)): p for p in one.points}
    means = {place: p.loss for place, p in points.items() if p.losses and not p.diverged}
    return Grid(
        arm=one.arm,
        losses=tuple(
            tuple(means.get((row, column)) for column in range(len(rates)))
            for row in range(len(decays))
        ),
        diverged=tuple(place for place, p in points.items() if p.diverged),
        best=next((place for place, p in points.items() if p is one.best), None),
    )


def _names(
    found: Sequence[Search], fields: Sequence[str], name: Callable[[Point], str]
) -> list[str]:
    """The values' names along an axis, in the order of what they set."""
    points = [point for one in found for point in one.points]
    return list(dict.fromkeys(name(p) for p in sorted(points, key=lambda p: p.setting(fields))))


def _optima(section: Section, found: Sequence[Search]) -> Table:
    return tabulate(
        f"{section.name}.optimum",
        "The best setting of each arm, and whether the grid goes on beyond it on every side. "
        "Weight decay 0 is a natural bound.",
        "arm",
        OPTIMUM,
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


OPTIMUM: tuple[Measure[Search], ...] = (
    _of_best("rate", "factor on both learning rates", lambda best: best.rate, left=True),
    _of_best("weight_decay", "weight decay", lambda best: best.decay, left=True),
    _of_best("muon_lr", "Muon's learning rate", lambda best: f"{best.setting(RATES)[0]:g}"),
    _of_best("adamw_lr", "AdamW's learning rate", lambda best: f"{best.setting(RATES)[1]:g}"),
    _of_best(
        "val_loss", "mean validation loss, nats a token",
        lambda best: f"{best.loss:.{LOSS_DIGITS}f}", "nats/token",
    ),
    Measure(
        "measured", "settings whose seeds ended",
        lambda one: [(f"{one.measured} of {one.expected}", _every(one))], text("count"), "settings",
    ),
    Measure(
        "optimum", "whether the best setting is inside the grid",
        lambda one: [(_judged(one), _every(one))], text("by its neighbours"), left=True,
    ),
)  # fmt: skip
