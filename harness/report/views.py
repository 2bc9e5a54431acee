"""The views by name: what a recipe may ask to be drawn, as tables of traceable cells.

Pure functions of records. A recipe names its views; a name that is not here is said so in the
card, never passed over. May not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.report import accidents, comparison, costs, tuning
from harness.report import scope as scopes
from harness.report.frame import Section
from harness.report.tables import Table

FIGURES = frozenset({"curves"})
"""Views that are figures: `harness.report.curves` holds their data, `figures` draws them."""


def _comparison(section: Section) -> list[Table]:
    tables = [comparison.losses(section), comparison.comparisons(section), costs.costs(section)]
    return [table for table in tables if table.rows]  # a single arm has no difference


TABLES: Mapping[str, Callable[[Section], list[Table]]] = {
    "comparison": _comparison,
    "tuning": tuning.tables,
}
"""Views that are tables."""

NAMES = frozenset(TABLES) | FIGURES
"""Every view that a recipe may name."""


def tables(section: Section) -> list[Table]:
    """A section's tables: its scope, those that its recipe named, and how its runs ended."""
    question = section.group.question
    asked = [t for view in question.views if view in TABLES for t in TABLES[view](section)]
    ended = [accidents.statuses(section), accidents.failures(section), accidents.others(section)]
    return [scopes.scope(section), *asked, *(table for table in ended if table is not None)]


def unknown(section: Section) -> list[str]:
    """Views that the recipe named and this version does not have."""
    return [view for view in section.group.question.views if view not in NAMES]
