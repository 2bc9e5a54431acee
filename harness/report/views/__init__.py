"""The views: one file each, named as recipes name it, with its tables and its figure.

A view is anything that has `tables(section)` or `figure(section)`: a module of this folder, found
by its name, or one of the user's own (`harness.report.own`). A name that is not here is said so in
the card, never passed over.
"""

from __future__ import annotations

import pkgutil
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from harness.errors import users_work
from harness.evidence.sections import Section
from harness.report import own
from harness.report.draw import Figure
from harness.report.own import ViewMissing
from harness.report.table import Table

AROUND = ("scope", "runs")
"""Views that every section has: what its numbers are true of, and how its runs ended."""


def load() -> None:
    """Import every view from the code as it is now."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


def find(name: str) -> Any:
    """The view of a name, which has `tables` or `figure`. Raises ViewMissing, saying why."""
    if name.partition(":")[0].endswith(".py"):
        return own.load(name)
    if name in {module.name for module in pkgutil.iter_modules(__path__)}:
        found = import_module(f"{__name__}.{name}")
        if hasattr(found, "tables") or hasattr(found, "figure"):
            return found
    raise ViewMissing("no file of this version draws it")


def asked(section: Section) -> tuple[str, ...]:
    """The views that the recipe named; and `experts` beside every comparison, since records
    older than that view could not name it (it is empty where no record holds experts)."""
    named = section.group.question.views
    implied = ("experts",) if "comparison" in named and "experts" not in named else ()
    return tuple(name for name in (*named, *implied) if name not in AROUND)


def tables(section: Section) -> list[Table]:
    """A section's tables: its scope, those of its views, and how its runs ended."""
    first, last = AROUND
    return [
        table
        for name in (first, *asked(section), last)
        for table in _made(name, "tables", section) or []
    ]


def figures(section: Section) -> list[Figure]:
    """A section's figures, in the order of its views."""
    found = [_made(name, "figure", section) for name in asked(section)]
    return [figure for figure in found if figure is not None]


def missing(section: Section) -> dict[str, str]:
    """Views that the recipe named and that cannot be shown -> why, in one line."""
    found = {}
    for name in asked(section):
        try:
            find(name)
        except ViewMissing as why:
            found[name] = str(why)
    return found


def _made(name: str, what: str, section: Section) -> Any:
    """What a view gives; None where it is missing. Raises RequestError for one that breaks."""
    try:
        make = getattr(find(name), what, None)
    except ViewMissing:
        return None
    users = name.partition(":")[0].endswith(".py")  # a fault of ours is no fault of the request
    with users_work(f"view '{name}' fails on {section.name}") if users else nullcontext():
        return make(section) if make else None
