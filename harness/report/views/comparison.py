"""The view `comparison`: losses, what their differences are worth, equal clocks, and costs."""

from __future__ import annotations

from harness.evidence.sections import Section
from harness.report.table import Table
from harness.report.views import clock, cost, difference, loss


def tables(section: Section) -> list[Table]:
    """The tables of the four views that it is made of."""
    return [table for view in (loss, difference, clock, cost) for table in view.tables(section)]
