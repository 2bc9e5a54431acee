"""The stages of a recipe: each arm's configuration in each of them, under the user's overrides.

A stage's changes come on top of the arm's configuration, overrides included; an override that
begins with a stage's name (`sft.optim.muon_lr=...`) comes on top of that. Pure; may not import
torch or the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config import RunConfig, replace
from harness.errors import RequestError, nearest
from harness.parts.settle import Settled
from harness.plan.diffs import difference, shown
from harness.recipe import Recipe, Stage


@dataclass(frozen=True)
class Step:
    """One stage of one arm."""

    stage: Stage
    config: RunConfig
    changed: Mapping[str, Any]
    """Dotted fields in which it differs from the arm's configuration."""


def split_overrides(
    overrides: Mapping[str, Any], stages: Sequence[Stage]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The overrides that hold for the arm, and stage by stage those that hold there alone."""
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {stage.name: {} for stage in stages}
    for path, value in overrides.items():
        name, dot, rest = path.partition(".")
        if dot and name in own:
            own[name][rest] = value
        else:
            shared[path] = value
    return shared, own


def check(recipe: Recipe) -> None:
    """Refuse stages that are no chain: a name that stands twice or is a section's, a start from
    what does not come before. Raises RequestError."""
    if recipe.stages and recipe.horizons:
        raise RequestError("a recipe with stages has their ends as horizons: it gives none itself")
    before: list[str] = []
    for stage in recipe.stages:
        if stage.name in (*before, *RunConfig.model_fields):
            raise RequestError(f"a stage cannot be called '{stage.name}': the name is taken")
        if stage.after is not None and stage.after not in before:
            raise RequestError(
                f"stage '{stage.name}' starts from '{stage.after}', which does not come before it"
                f"{nearest(stage.after, before)}"
            )
        before.append(stage.name)


def steps(
    recipe: Recipe,
    arm: str,
    config: RunConfig,
    own: Mapping[str, Mapping[str, Any]],
    settled: Callable[[RunConfig], Settled],
) -> list[Step]:
    """All stages of an arm, parents first; `settled` completes a configuration by what its parts
    say. Raises RequestError naming the stage."""
    found: dict[str, Step] = {}
    for stage in recipe.stages:
        try:
            changes = stage.changes(config) if callable(stage.changes) else stage.changes
            changed = settled(replace(replace(config, changes), own.get(stage.name, {}))).config
        except RequestError as error:
            raise RequestError(f"arm '{arm}', stage '{stage.name}': {error}") from None
        if stage.after is not None:
            _check_handover(stage, found[stage.after], changed)
        different = {
            path: shown(path, pair[1]) for path, pair in difference(config, changed).items()
        }
        found[stage.name] = Step(stage, changed, different)
    return list(found.values())


def _check_handover(stage: Stage, parent: Step, config: RunConfig) -> None:
    """Weights can only be handed over to the same architecture and the same tokens' meanings."""
    for path, (theirs, ours) in difference(parent.config, config).items():
        if path.startswith("model."):
            raise RequestError(
                f"stage '{stage.name}' starts from '{stage.after}' with another architecture: "
                f"{path} is {ours!r} instead of {theirs!r}"
            )


def chosen(
    stages: Sequence[Stage], start: str | None, given: bool
) -> tuple[Sequence[Stage], str | None]:
    """The stages to plan when a model is given to start from: the one that takes it (`start`, or
    the first) and those that follow from it; and that one's name. All, and None, otherwise.

    Raises RequestError for an unknown stage, or where there is none to start.
    """
    names = [stage.name for stage in stages]
    if stages and start is not None and start not in names:
        raise RequestError(f"no stage '{start}'{nearest(start, names)}")
    if not given:
        return stages, None
    if not stages:
        raise RequestError("--from needs a recipe with stages; this one trains from scratch")
    first = start or names[0]
    kept = {first}
    for stage in stages:
        if stage.after in kept:
            kept.add(stage.name)
    return [stage for stage in stages if stage.name in kept], first
