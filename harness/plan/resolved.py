"""A recipe at a scale, resolved once: its arms under the user's overrides, with nothing left open.

`smol run`, `show`, `campaign` and the dry run plan from the same `Resolved`. Pure: starts nothing
and reads nothing; what was measured is asked through `Evidence` where a field says `auto`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config import replace
from harness.data import sources
from harness.errors import RequestError, nearest
from harness.plan import auto as automatic
from harness.plan import stages
from harness.plan.grid import Arm, arms
from harness.plan.profiles import Profile, common_micro_batch, split
from harness.recipe import Entry, Recipe, Scale, Tokens, check_name


@dataclass(frozen=True)
class Resolved:
    """What a recipe comes to at a scale, before anybody says on which machine it runs."""

    entry: Entry
    scale: Scale
    recipe: Recipe
    """As built, with the user's horizons and with every `auto` of its base replaced."""
    arms: Sequence[Arm]
    cut_by: str | None
    """The device profile that cut updates into micro-steps; None left the recipe's split."""
    choices: Mapping[str, str]
    """Field that was `auto` -> what was chosen, and why."""


def resolve(
    entry: Entry,
    scale: Scale,
    overrides: Mapping[str, Any] | None = None,
    profile: Profile | None = None,
    evidence: automatic.Evidence = automatic.NONE,
) -> Resolved:
    """The recipe at a scale and its checked grid, under the user's overrides and a device profile.

    Raises RequestError for a field, an arm or a horizon that is not there, and for arms that differ
    where they do not say so.
    """
    overrides = overrides or {}
    built = entry.at(scale)
    recipe = follow_overrides(built, overrides)
    chosen = automatic.choose(recipe, overrides, evidence)
    if chosen:
        values = {path: choice.value for path, choice in chosen.items()}
        recipe = dataclasses.replace(recipe, base=replace(recipe.base, values))
        overrides = {path: value for path, value in overrides.items() if path not in chosen}
    grid = arms(recipe, overrides, entry.folders)
    if profile is not None and _may_cut(recipe, overrides, profile):
        micro = common_micro_batch([arm.config for arm in grid], profile)
        recipe = dataclasses.replace(recipe, base=split(recipe.base, micro))
        grid = arms(recipe, overrides, entry.folders)
    automatic.check_resolved(grid)
    check_question(entry, recipe, grid)
    cut = profile is not None and recipe.base.batch != built.base.batch
    return Resolved(
        entry, scale, recipe, grid, profile.name if cut and profile else None,
        {path: choice.text for path, choice in chosen.items()},
    )  # fmt: skip


def _may_cut(recipe: Recipe, overrides: Mapping[str, Any], profile: Profile) -> bool:
    """Whether a profile decides the split: not where the user or an axis names it."""
    named = any(path.split(".")[0] == "batch" for path in overrides)
    varied = any(
        axis.allows(f"batch.{field}")
        for axis in recipe.axes
        for field in ("micro_batch", "grad_accum")
    )
    return profile.budget is not None and not (named or varied)


def check_question(entry: Entry, recipe: Recipe, grid: Sequence[Arm]) -> None:
    """Refuse names that no record could carry, and a question about arms or horizons that are not
    there. Raises RequestError."""
    names, horizons = [arm.name for arm in grid], horizon_names(recipe)
    check_name("a recipe", entry.name)
    for name in (*names, *recipe.notes):
        check_name("an arm", name)
    for name in horizons:
        check_name("a stage" if recipe.stages else "a horizon", name)
        check_name("a run", f"decay-{name}")
    configs = [arm.config for arm in grid] + [step.config for arm in grid for step in arm.steps]
    for data in {config.data for config in configs}:
        sources.check(data)
        for source in data.sources:
            check_name("a source", source.name)
    if len(set(horizons)) < len(horizons):
        raise RequestError(f"recipe '{entry.name}' names a horizon twice: {', '.join(horizons)}")
    if entry.primary.at not in horizons:
        raise RequestError(
            f"recipe '{entry.name}' asks at a horizon '{entry.primary.at}' that it does not have"
            f"{nearest(entry.primary.at, horizons)}"
        )
    for arm in (arm for pair in entry.primary.pairs for arm in pair):
        if arm not in names:
            raise RequestError(
                f"recipe '{entry.name}' asks about an arm '{arm}' that it does not have"
                f"{nearest(arm, names)}"
            )


def horizon_names(recipe: Recipe) -> list[str]:
    """What a recipe's horizons are called; a stage's end has the stage's name."""
    return [one.name for one in (recipe.stages or recipe.horizons)]


def follow_overrides(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """`--set train.tokens=N` moves the token horizon that was declared as the base's tokens."""
    overrides, _ = stages.split_overrides(overrides, recipe.stages)
    if "train.tokens" not in overrides:
        return recipe
    before = recipe.base.train.tokens
    after = replace(recipe.base, overrides).train.tokens
    horizons = [
        Tokens(after, h.name) if isinstance(h, Tokens) and h.tokens == before else h
        for h in recipe.horizons
    ]
    return Recipe(**{**recipe.__dict__, "horizons": horizons})
