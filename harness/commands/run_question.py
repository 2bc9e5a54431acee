"""What every record of a request carries: the question that was asked, and the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    words = [
        "smol",
        "run",
        request.options.recipe,
        "--scale",
        request.scale,
        "--device",
        request.device,
    ]
    if request.options.seeds is not None and request.options.seeds != entry.seeds[request.scale]:
        words += ["--seeds", str(request.options.seeds)]
    for text in request.options.text:
        words += ["--text", Path(text).name]
    for path, value in request.overrides.items():
        if path == "data.sources" and request.options.text:
            continue  # what --text stands for
        words += ["--set", f"{path}={value if isinstance(value, str) else json.dumps(value)}"]
    for pair in request.options.data:
        name, equals, folder = pair.rpartition("=")
        words += ["--data", name + equals + Path(folder).name]
    if request.options.processes > 1:
        words += ["--launcher", Path(request.options.launcher).name]
        words += ["--processes", str(request.options.processes)]
    if request.given is not None:
        stage = ["--stage", request.options.stage] if request.options.stage else []
        words += [*stage, "--from", Path(request.given.argument).name]
    return as_command(words)


def unseen(config: RunConfig) -> bool:
    """Whether a run goes through code that no reference trajectory does."""
    parts = (config.optim, config.model.feed_forward, config.model.attention)
    return bool(config.train.kernels) or any(part.code for part in parts)
