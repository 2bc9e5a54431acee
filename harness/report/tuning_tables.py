"""The view `tuning`: an equal search's losses, and the best setting of each arm.

Pure: a search's section in, tables and a figure's data out. May not import torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from harness.config import Frozen, digest
from harness.evidence.searches import EDGE, Point, Search, searches
from harness.evidence.sections import Section
from harness.optim.tuning import DECAYS, RATES
from harness.report.tables import Cell, Column, Row, Table, estimate, plain
from harness.stats.inference import t_interval

LOSS_DIGITS = 4


class Grid(Frozen):
    """The losses of one arm's search."""

    arm: str
    losses: tuple[tuple[float | None, ...], ...]
    """(weight decays, rates), nats a token; None where no seed ended."""
    diverged: tuple[tuple[int, int], ...]
    """(weight decay, rate) of settings of which a seed's loss was not finite."""
    best: tuple[int, int] | None
    """(weight decay, rate) of the lowest loss; None while the search is not complete."""


class Grids(Frozen):
    """All that the figure shows."""

    title: str
    rates: tuple[str, ...]
    decays: tuple[str, ...]
    grids: tuple[Grid, ...]

    @property
    def digest(self) -> str:
        """Of the data drawn."""
        return digest(self)


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
