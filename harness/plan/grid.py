"""Recipe -> arms: the grid of complete configurations, and what is refused of it.

The confound check lives here: whatever made the configurations, arms that differ outside the fields
of their axes are refused. Pure, but that parts which are not ours are asked what they are
(`harness.parts.settle`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.config import RunConfig, flatten, replace
from harness.errors import RequestError, nearest
from harness.machine.hardware import cores
from harness.optim import registry
from harness.parts.settle import settle
from harness.plan import stages
from harness.plan.diffs import difference, differing, differing_anywhere, shown
from harness.plan.stages import Step
from harness.recipe import Axis, Recipe
from models.config import active_parameters, total_parameters

MATCH_TOLERANCE = 0.02
AT_ONCE = 4
"""Arms whose parts are tried side by side, at most: in a process each, that holds torch."""


@dataclass(frozen=True)
class Arm:
    """One point of the grid: a complete configuration, and how it differs from the base."""

    name: str
    values: Mapping[str, str]
    """Axis -> the value's name."""
    config: RunConfig
    diff: Mapping[str, Any]
    steps: tuple[Step, ...] = ()
    """Its stages, parents first; none where the recipe has none."""


def arms(recipe: Recipe, overrides: Mapping[str, Any], beside: Sequence[Path] = ()) -> list[Arm]:
    """The grid of a recipe under the user's overrides, checked.

    Overrides hold for every arm, also for fields that an axis sets; a setting of a part, for every
    arm whose part has it. `beside` are folders to look for a user's parts in.
    Raises RequestError for confounds, arms that became equal, lost matches, and parts that are
    not there or do not work.
    """
    stages.check(recipe)
    overrides, of_stages = stages.split_overrides(overrides, recipe.stages)
    wishes = {path: value for path, value in overrides.items() if ".settings." in path}
    overrides = {path: value for path, value in overrides.items() if path not in wishes}
    settled = partial(settle, beside=beside, wishes=wishes)
    base, taken = replace(recipe.base, overrides), set[str]()
    grid: list[Arm] = []
    points = _points(recipe, base, overrides)
    pool = ThreadPoolExecutor(min(AT_ONCE, cores()))
    try:
        asked = [pool.submit(settled, config) for _, _, config in points]
        for (name, values, _), answer in zip(points, asked, strict=True):
            with _of_arm(name):
                found = answer.result()
                steps = stages.steps(recipe, name, found.config, of_stages, settled)
            taken |= found.taken
            changed = difference(base, found.config)
            diff = {path: shown(path, pair[1]) for path, pair in changed.items()}
            grid.append(Arm(name, values, found.config, diff, tuple(steps)))
    finally:
        pool.shutdown(cancel_futures=True)
    if unused := sorted(wishes.keys() - taken):
        known = {path for arm in grid for path in flatten(arm.config) if ".settings." in path}
        raise RequestError(f"no arm's part has '{unused[0]}'{nearest(unused[0], known)}")
    check_confounds(grid, recipe.axes)
    for number, stage in enumerate(recipe.stages):
        there = [dataclasses.replace(a, config=a.steps[number].config) for a in grid]
        # Arms may have become equal there: they start from different weights.
        check_confounds(there, recipe.axes, where=f", in stage '{stage.name}',", alike=True)
    check_matches(grid, recipe)
    return grid


def _points(
    recipe: Recipe, base: RunConfig, overrides: Mapping[str, Any]
) -> list[tuple[str, dict[str, str], RunConfig]]:
    """Each arm's name, its value of each axis, and its configuration before parts are settled."""
    found = []
    for point in itertools.product(*(axis.values for axis in recipe.axes)):
        values = dict(zip((axis.name for axis in recipe.axes), point, strict=True))
        changes: dict[str, Any] = {}
        for axis in recipe.axes:
            changes.update(axis.changes(values[axis.name], partial(replace, base, changes)))
        name = "-".join(point) if point else "base"
        with _of_arm(name):
            # At once: an axis's value alone may not fit a base that was overridden.
            found.append((name, values, replace(base, {**changes, **overrides})))
    return found


@contextlib.contextmanager
def _of_arm(name: str) -> Iterator[None]:
    """Say of what is refused which arm it was."""
    try:
        yield
    except RequestError as error:
        raise type(error)(f"arm '{name}': {error}") from None


def check_confounds(
    grid: Sequence[Arm], axes: Sequence[Axis], *, where: str = "", alike: bool = False
) -> None:
    """Refuse arms that differ in a field that no axis between them declares, or (unless they may
    be `alike`) in nothing.

    Raises RequestError naming the field and both values.
    """
    # Flat once an arm, and without what all share: a hundred arms are five thousand pairs.
    whole = [flatten(arm.config) for arm in grid]
    varied = differing_anywhere(whole)
    flat = [{path: v for path, v in config.items() if path in varied} for config in whole]
    allowed = {axis.name: {path for path in varied if axis.allows(path)} for axis in axes}
    for (a, left), (b, right) in itertools.combinations(zip(grid, flat, strict=True), 2):
        between = [axis for axis in axes if a.values[axis.name] != b.values[axis.name]]
        found = differing(left, right)
        for path, (mine, other) in found.items():
            if not any(path in allowed[axis.name] for axis in between):
                declared = ", ".join(f for axis in between for f in axis.fields) or "nothing"
                values = f"{shown(path, mine)!r} against {shown(path, other)!r}"
                raise RequestError(
                    f"arms '{a.name}' and '{b.name}'{where} differ in {path} ({values}), which "
                    f"their axes do not declare (they declare {declared})"
                )
        if not found and not alike:
            raise RequestError(
                f"arms '{a.name}' and '{b.name}' are the same configuration; "
                "does a --set override the field that their axis varies?"
            )
        inert = [path for path in found if _inert(a, path) and _inert(b, path)]
        if inert and not alike and len(inert) == len(found):
            raise RequestError(
                f"arms '{a.name}' and '{b.name}' differ only in {', '.join(found)}, which "
                "change nothing in either: their optimizer or their model does not use them"
            )


EXPERTS_ONLY = ("top_k", "balance_weight", "z_weight", "router_noise")
"""Fields of a model that mean nothing without experts."""


def _inert(arm: Arm, path: str) -> bool:
    """Whether a field of an arm's configuration cannot change what it computes."""
    section, _, name = path.partition(".")
    if section == "optim":
        return not registry.reads(arm.config.optim.name, name)
    return section == "model" and name in EXPERTS_ONLY and not arm.config.model.is_moe


def check_matches(grid: Sequence[Arm], recipe: Recipe) -> None:
    """Refuse arms whose parameters are no longer matched. Raises RequestError."""
    by_name = {arm.name: arm for arm in grid}
    counters = {"active": active_parameters, "total": total_parameters}
    for match in recipe.matches:
        ours = counters[match.by](by_name[match.arm].config.model)
        theirs = counters[match.by](by_name[match.to].config.model)
        if abs(ours / theirs - 1.0) > MATCH_TOLERANCE:
            raise RequestError(
                f"arm '{match.arm}' has {ours:,} {match.by} parameters and '{match.to}' has "
                f"{theirs:,}: {ours / theirs - 1.0:+.1%}, but the recipe matches them to "
                f"{MATCH_TOLERANCE:.0%}"
            )
