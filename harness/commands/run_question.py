"""What every record of a request carries: the question that was asked, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.commands.planned import as_command
from harness.commands.request import Request
from harness.config import RunConfig
from harness.plan.resolved import horizon_names
from harness.plan.runs import Plan
from harness.recipe import Entry
from harness.records.schema import Question


def question(plan: Plan, overrides: Mapping[str, Any]) -> Question:
    """What the recipe asks, as each record carries it."""
    entry, recipe = plan.entry, plan.recipe
    return Question(
        summary=entry.summary,
        metric=entry.primary.metric,
        at=entry.primary.at,
        pairs=entry.primary.pairs,
        seeds=entry.seeds[plan.scale],
        first_seed=entry.first_seed,
        looks=entry.looks.get(plan.scale, ()),
        role=recipe.role,
        tuned_by=recipe.tuned_by,
        arms=tuple(arm.name for arm in plan.arms),
        notes=dict(recipe.notes),
        horizons=tuple(horizon_names(recipe)),
        stages=tuple(stage.name for stage in recipe.stages),
        views=tuple(recipe.views),
        margin=recipe.timing.margin if recipe.timing else None,
        fewest=recipe.timing.fewest if recipe.timing else None,
        equivalent=entry.primary.equivalent,
        choices=dict(plan.choices),
        overrides=dict(overrides),
    )


def command(request: Request, entry: Entry) -> str:
    """The command that runs this recipe again, without paths of this machine."""
    if request.beforehand is not None:
        return as_command(request.beforehand.words)
    words = ["smol", "run", request.options.recipe, "--scale", request.scale]
    words += ["--device", request.device]
    if request.options.seeds is not None and request.options.seeds != entry.seeds[request.scale]:
        words += ["--seeds", str(request.options.seeds)]
    return as_command([*words, *_beside(request, lambda path: Path(path).name)])


def again(request: Request) -> str:
    """What to type, here, for what is still missing of all arms and frozen seeds of a request."""
    if request.beforehand is not None:
        return as_command(request.beforehand.words)
    options = request.options
    where = [] if options.results is None else ["--results", str(options.results)]
    words = ["smol", "run", options.recipe, "--scale", request.scale]
    return as_command([*words, *_beside(request, str), *where])


def _beside(request: Request, shown: Callable[[str], str]) -> list[str]:
    """The options that make a request another than the recipe as it is declared; `shown` is how
    the path of a file is written."""
    words: list[str] = []
    for text in request.options.text:
        words += ["--text", shown(str(text))]
    for path, value in request.overrides.items():
        if path == "data.sources" and request.options.text:
            continue  # what --text stands for
        words += ["--set", f"{path}={value if isinstance(value, str) else json.dumps(value)}"]
    for pair in request.options.data:
        name, equals, folder = pair.rpartition("=")
        words += ["--data", name + equals + shown(folder)]
    if request.options.processes > 1:
        words += ["--launcher", shown(request.options.launcher)]
        words += ["--processes", str(request.options.processes)]
    if request.given is not None:
        stage = ["--stage", request.options.stage] if request.options.stage else []
        words += [*stage, "--from", shown(request.given.argument)]
    return words


def unseen(config: RunConfig) -> bool:
    """Whether a run goes through code that no reference trajectory does."""
    parts = (config.optim, config.model.feed_forward, config.model.attention)
    return bool(config.train.kernels) or any(part.code for part in parts)
