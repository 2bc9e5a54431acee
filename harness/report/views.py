"""The views by name: what a recipe may ask to be drawn, as tables of traceable cells.

Pure functions of records. A recipe names its views; a name that is not here is said so in the
card, never passed over. May not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sections import Section
from harness.records.store import path_of
from harness.report import (
    accidents,
    clock,
    comparison,
    costs,
    curves,
    experts,
    losses,
    sft,
    throughput,
    totals,
    tuning_tables,
)
from harness.report import scope as scopes
from harness.report.benches import Ratios
from harness.report.curves import Curves
from harness.report.experts import Heats
from harness.report.sft import StageCurves
from harness.report.tables import Cell, Table
from harness.report.totals import Totals
from harness.report.tuning_tables import Grids


@dataclass(frozen=True)
class Figure:
    """A view that is a figure: what it shows, and what stands around it in the card."""

    name: str
    """Section and view."""
    data: Curves | Grids | Heats | Ratios | StageCurves | Totals
    alt: str
    """What the picture shows, for those who do not see it."""
    caption: str
    records: tuple[str, ...]
    """Files that the data come from, relative to the results folder."""
    command: str
    """What reproduces them."""

    @property
    def file(self) -> str:
        """In `<results>/figures/`."""
        return f"{self.name}.png"

    def cells(self) -> dict[str, Cell]:
        """Address -> the picture and its caption, as cells."""
        made = f"drawn from data of digest {self.data.digest}"
        n = len(self.records)
        return {
            f"{self.name}/figure": Cell(self.file, self.records, self.alt, made, n),
            f"{self.name}/caption": Cell(
                self.caption, self.records, "caption of the view", "of the figure", n
            ),
        }


def _comparison(section: Section) -> list[Table]:
    tables = [
        losses.losses(section),
        comparison.comparisons(section),
        clock.clock(section),
        *costs.costs(section),
    ]
    return [table for table in tables if table and table.rows]  # a single arm has no difference


def _origin(section: Section) -> dict[str, Any]:
    """What a figure of a section's group says of its origin."""
    records = tuple(path_of(record) for record in section.group.records)
    return {"records": records, "command": section.group.command}


def _curves(section: Section) -> Figure:
    data = curves.curves(section)
    return Figure(
        name=f"{section.name}.curves",
        data=data,
        alt=f"{section.recipe} at {section.scale} scale: validation loss against tokens and FLOPs",
        caption=(
            "Mean over seeds; bands from the lowest to the highest seed; dotted: learning rate "
            "decaying to a horizon; points: endpoints with their 95 % t interval."
            + (" The first updates lie above the frame." if data.clipped else "")
        ),
        **_origin(section),
    )


def _experts(section: Section) -> Figure | None:
    data = experts.heats(section)
    if data is None:
        return None
    return Figure(
        name=f"{section.name}.experts",
        data=data,
        alt=f"{section.recipe} at {section.scale} scale: load of each expert, layer by layer",
        caption=(
            "Where the routers sent the validation tokens: each expert's load as a share of an "
            "even one, mean over seeds, ranked within each layer and seed because an expert's "
            "number means nothing across seeds. Right of each row: routing entropy / ln experts."
        ),
        **_origin(section),
    )


def _grids(section: Section) -> Figure | None:
    data = tuning_tables.grids(section)
    if data is None:
        return None
    return Figure(
        name=f"{section.name}.tuning.figure",
        data=data,
        alt=f"{section.recipe} at {section.scale} scale: loss at each rate and weight decay",
        caption=(
            "The search as a map: validation loss by factor on both learning rates and by weight "
            "decay, the best of each arm framed. The panels share their colours."
        ),
        **_origin(section),
    )


def _totals(section: Section) -> Figure | None:
    data = totals.totals(section)
    if data is None:
        return None
    return Figure(
        name=f"{section.name}.throughput.figure",
        data=data,
        alt=f"{section.recipe} at {section.scale} scale: seconds of a run against its updates",
        caption=(
            "Each marker a launch, hollow where it does not count; lines: fixed + updates x "
            "steady of the table; dashed: break-even with its interval, where it is resolved."
        ),
        **_origin(section),
    )


def _stages(section: Section) -> Figure | None:
    data = sft.curves(section)
    if data is None:
        return None
    return Figure(
        name=f"{section.name}.stages",
        data=data,
        alt=f"{section.recipe} at {section.scale} scale: validation loss in each stage",
        caption=(
            "Validation loss in each stage, on that stage's held-out text: mean over seeds, bands "
            "from the lowest to the highest seed. The panels' losses are of different texts. Of a "
            "stage from scratch the first updates are left out."
        ),
        **_origin(section),
    )


TABLES: Mapping[str, Callable[[Section], list[Table]]] = {
    "comparison": _comparison,
    "tuning": tuning_tables.tables,
    "experts": experts.tables,
    "throughput": throughput.tables,
    "sft": sft.tables,
}
"""Views with tables."""

FIGURES: Mapping[str, Callable[[Section], Figure | None]] = {
    "curves": _curves,
    "tuning": _grids,
    "experts": _experts,
    "throughput": _totals,
    "sft": _stages,
}
"""Views with a figure; None where the records hold nothing to draw."""

NAMES = frozenset(TABLES) | frozenset(FIGURES)
"""Every view that a recipe may name."""


def asked(section: Section) -> tuple[str, ...]:
    """The views that the recipe named; and `experts` beside every comparison, since records
    older than that view could not name it (it is empty where no record holds experts)."""
    named = section.group.question.views
    implied = ("experts",) if "comparison" in named and "experts" not in named else ()
    return (*named, *implied)


def tables(section: Section) -> list[Table]:
    """A section's tables: its scope, those of its views, and how its runs ended."""
    named = [t for view in asked(section) if view in TABLES for t in TABLES[view](section)]
    ended = [accidents.statuses(section), accidents.failures(section), accidents.others(section)]
    return [scopes.scope(section), *named, *(table for table in ended if table is not None)]


def figures(section: Section) -> list[Figure]:
    """A section's figures, in the order of its views."""
    found = [FIGURES[view](section) for view in asked(section) if view in FIGURES]
    return [figure for figure in found if figure is not None]


def unknown(section: Section) -> list[str]:
    """Views that the recipe named and this version does not have."""
    return [view for view in section.group.question.views if view not in NAMES]
