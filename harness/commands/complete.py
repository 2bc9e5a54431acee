"""What the shell's completion offers: recipes, arms, cells, scales, devices.

Called while a command is being typed, so whatever goes wrong offers nothing and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


def _quiet(find: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in find() if name.startswith(incomplete)]
        except (Exception, SystemExit):  # a user's recipe may raise anything
            return []

    return complete


def _recipes() -> Iterable[str]:
    from harness.recipe import load

    return load()[0]


def _scales() -> Iterable[str]:
    from harness.recipe import SCALES

    return SCALES


def _devices() -> Iterable[str]:
    from harness.machine import devices

    return [devices.AUTO, *devices.devices()]


def _measured_arms() -> Iterable[str]:
    """`recipe/arm` as the folders of the records have them."""
    from harness.commands import places

    for results in places.candidates(None):
        for arm in sorted((results / "records").glob("*/*/")):
            yield f"{arm.parent.name}/{arm.name}"


def _cells() -> Iterable[str]:
    from harness.commands import places
    from harness.report.cells import load

    for results in places.candidates(None):
        index = load(results)
        yield from index.cells if index else ()


recipes = _quiet(_recipes)
scales = _quiet(_scales)
devices = _quiet(_devices)
measured_arms = _quiet(_measured_arms)
cells = _quiet(_cells)
