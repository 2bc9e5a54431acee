"""A view of one's own: `FILE.py:OBJECT` or `FILE.py`, beside the recipe that names it.

The object is a module or class with `tables(section)` or `figure(section)`, or a function of a
section that gives tables and figures in a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import RequestError, UsersFault, users_code, users_module
from harness.evidence.sections import Section
from harness.report.draw import Figure
from harness.report.table import Table


class ViewMissing(Exception):
    """A view that cannot be shown, and why, in one line."""


class _OfFunction:
    """A function of a section, as a view."""

    def __init__(self, function: Callable[[Section], Sequence[Table | Figure]]) -> None:
        self.function = function

    def tables(self, section: Section) -> list[Table]:
        """The tables of what it gives."""
        return [one for one in self.function(section) if isinstance(one, Table)]

    def figure(self, section: Section) -> Figure | None:
        """The first figure of what it gives."""
        return next((one for one in self.function(section) if isinstance(one, Figure)), None)


def folders() -> list[Path]:
    """Where recipes lie: the user's first, then ours."""
    import recipes as ours

    return [Path.cwd() / "recipes", *map(Path, ours.__path__)]


def load(name: str) -> Any:
    """The view of `FILE.py:OBJECT`. Raises ViewMissing where it is not there or does not load."""
    found = object_of(name)
    try:
        with users_code():
            view = found() if isinstance(found, type) else found
    except UsersFault as why:
        raise ViewMissing(f"{name} cannot be made: {why}") from None
    if hasattr(view, "tables") or hasattr(view, "figure"):
        return view
    if callable(view):
        return _OfFunction(view)
    raise ViewMissing(f"{name} has neither tables(section) nor figure(section)")


def object_of(name: str) -> Any:
    """What `FILE.py:OBJECT`, or the module `FILE.py`, is. Raises ViewMissing, saying why."""
    file, _, wanted = name.partition(":")
    places = [folder / file for folder in folders()]
    place = next((path for path in places if path.is_file()), None)
    # Records may be a stranger's: what they name is looked for beside recipes and nowhere else.
    if place is None or ".." in Path(file).parts or Path(file).is_absolute():
        raise ViewMissing(f"there is no file recipes/{file}")
    module = _module(place)
    found = getattr(module, wanted, None) if wanted else module
    if found is None:
        raise ViewMissing(f"{file} has no {wanted}")
    return found


@cache
def _module(place: Path) -> ModuleType:
    """The file as a module; executed once."""
    try:
        return users_module(place, f"_own_view_{place.stem}")
    except (UsersFault, RequestError) as why:  # said where the view would stand
        raise ViewMissing(str(why)) from None
