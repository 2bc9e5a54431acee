"""Recipe x scale x device -> arms -> ordered runs. Pure: starts nothing, reads nothing.

Which arms there are, and which are refused, is `harness/plan/grid.py`. May not import torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from harness.config import (
    DataConfig,
    Frozen,
    RunConfig,
    flatten,
    replace,
)
from harness.data import sources
from harness.errors import RequestError, nearest
from harness.plan import auto as automatic
from harness.plan import stages
from harness.plan.grid import Arm, arms
from harness.plan.profiles import Profile, common_micro_batch, split
from harness.recipe import Entry, Horizon, Recipe, Scale, Stage, Tokens, check_name
from harness.records.keys import key_of
from models.config import (
    active_parameters,
    flops_per_token,
    flops_unknown,
    known_flops_per_token,
    total_parameters,
)


class Endpoint(Frozen):
    """A horizon, resolved for one arm."""

    horizon: str
    update: int
    """The learning rate has decayed to its end after this many updates."""
    tokens: int
    flops: float | None
    """None where those of a part are not known."""


class Run(Frozen):
    """One (arm, seed, repeat, stage, scale, device), to be executed once in its own process."""

    recipe: str
    arm: str
    seed: int
    repeat: int
    stage: str
    """`stem` (constant rate), `decay-<horizon>` (from a stem's branch), `train-<horizon>`; in a
    recipe with stages, a stage's name."""
    scale: str
    device: str
    world_size: int
    profile: str | None = None
    """As the plan's."""
    config: RunConfig
    first_update: int
    last_update: int
    """Half-open: the run makes updates first_update .. last_update - 1."""
    decay_start: int | None
    """The update at which the rate begins to fall towards `last_update`; None in a stem."""
    branch_at: tuple[int, ...]
    """A stem leaves a branch checkpoint after these numbers of updates."""
    endpoints: tuple[Endpoint, ...]
    """The horizons that end with this run; more than one where they coincide."""
    parent: str | None
    """The key of the run that this one starts from: a decay's stem, or the stage before."""
    key: str
    key_alone: str = ""
    """The key that the run would have with one process. It is the same for all numbers of them,
    so it tells whose checkpoints a run may go on from."""
    start: Literal["init", "branch", "final", "given"] = "init"
    """From what: an initialisation, the parent's branch (optimizer and all), the weights that
    the parent ended with, or a model that the user gave."""
    given: str | None = None
    """Which model that was: its kind and digest."""
    stage_diff: dict[str, Any] = Field(default_factory=dict)
    """Dotted fields in which the stage differs from its arm."""
    prompts: tuple[str, ...] = ()
    """Put to the model before and after the stage."""

    @property
    def name(self) -> str:
        """`recipe/arm/seed/stage`, as the door takes it."""
        return f"{self.recipe}/{self.arm}/{self.seed}/{self.stage}"


@dataclass(frozen=True)
class Plan:
    """All runs of a recipe at a scale on a device, parents before children."""

    entry: Entry
    recipe: Recipe
    scale: Scale
    device: str
    profile: str | None
    """The device profile that cut updates into micro-steps; None left the recipe's split."""
    seeds: int
    arms: Sequence[Arm]
    runs: Sequence[Run]
    choices: Mapping[str, str] = field(default_factory=dict)
    """Field that was `auto` -> what was chosen, and why."""

    @property
    def configs(self) -> list[RunConfig]:
        """Of its runs."""
        return [run.config for run in self.runs]


def endpoint(horizon: Horizon, arm: Arm, grid: Sequence[Arm]) -> Endpoint:
    """Where a horizon ends for an arm, to the nearest update."""
    config = arm.config
    per_token = known_flops_per_token(config.model, config.data.seq_len)
    if isinstance(horizon, Tokens):
        tokens = float(horizon.tokens)
    else:
        reference = next((a for a in grid if a.name == horizon.arm), None)
        if reference is None:
            raise RequestError(f"horizon '{horizon.name}' refers to no arm '{horizon.arm}'")
        for one in (arm, reference):
            if (reason := flops_unknown(one.config.model)) is not None:
                raise RequestError(f"horizon '{horizon.name}', arm '{one.name}': {reason}")
        budget = reference.config.train.tokens * flops_per_token(
            reference.config.model, reference.config.data.seq_len
        )
        tokens = budget / flops_per_token(config.model, config.data.seq_len)
    updates = max(2, round(tokens / config.tokens_per_update))
    exact = updates * config.tokens_per_update
    flops = None if per_token is None else exact * per_token
    return Endpoint(horizon=horizon.name, update=updates, tokens=exact, flops=flops)


def make(
    entry: Entry,
    scale: Scale,
    device: str,
    *,
    seeds: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    tokenizer_digest: Callable[[DataConfig], str],
    device_class: str,
    world_size: int = 1,
    profile: Profile | None = None,
    given: str | None = None,
    start: str | None = None,
    evidence: automatic.Evidence = automatic.NONE,
) -> Plan:
    """The plan of a recipe: seed by seed, arm by arm, parents before children.

    `tokenizer_digest` gives the digest of the tokenizer that a data specification leads to.
    `given` names a model that the stage `start` (or the first) begins with; stages that do not
    follow from it are not planned. `evidence` is asked where a field is `auto`.
    """
    overrides = overrides or {}
    recipe, grid = resolve(entry, scale, overrides, profile, evidence)
    asked = automatic.choose(follow_overrides(entry.at(scale), overrides), overrides, evidence)
    choices = {path: chosen.text for path, chosen in asked.items()}
    if not recipe.runs_on(device):
        raise RequestError(
            f"recipe '{entry.name}' needs --device {' or '.join(recipe.devices)}: {entry.summary}"
        )
    cut = recipe.base.batch != entry.at(scale).base.batch
    cut_by = profile.name if profile is not None and cut else None
    count = seeds if seeds is not None else entry.seeds[scale]
    if count < 1:
        raise RequestError(f"--seeds must be at least 1, not {count}")
    taken, first = stages.chosen(recipe.stages, start, given is not None)
    recipe = dataclasses.replace(recipe, stages=taken)
    _check_shared(grid, world_size)
    runs: list[Run] = []
    for seed in range(entry.first_seed, entry.first_seed + count):
        for arm in grid:
            ends = [endpoint(horizon, arm, grid) for horizon in recipe.horizons]
            outside = {"device_class": device_class, "world_size": world_size}
            place: dict[str, Any] = dict(
                recipe=entry.name, seed=seed, scale=scale, device=device, world_size=world_size,
                profile=cut_by,
            )  # fmt: skip
            if recipe.stages:
                runs += _stages_of(arm, place, outside, taken, (first, given), tokenizer_digest)
            else:
                outside["tokenizer"] = tokenizer_digest(arm.config.data)
                runs += _runs_of(arm, place, ends, outside, whole=recipe.timing is not None)
    if recipe.timing is not None:
        runs = abba(runs)
    return Plan(entry, recipe, scale, device, cut_by, count, grid, runs, choices)


def resolve(
    entry: Entry,
    scale: Scale,
    overrides: Mapping[str, Any],
    profile: Profile | None = None,
    evidence: automatic.Evidence = automatic.NONE,
) -> tuple[Recipe, list[Arm]]:
    """The recipe at a scale and its checked grid, under the user's overrides and a profile."""
    recipe = follow_overrides(entry.at(scale), overrides)
    if chosen := automatic.choose(recipe, overrides, evidence):
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
    return recipe, grid


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


def _check_shared(grid: Sequence[Arm], processes: int) -> None:
    """Raises RequestError where an update has fewer sequences than processes to share it."""
    for arm in grid:
        configs = (arm.config, *(step.config for step in arm.steps))
        fewest = min(config.sequences_per_update for config in configs)
        if fewest < processes:
            raise RequestError(
                f"--processes {processes}: arm '{arm.name}' has only {fewest} sequences in an "
                "update"
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


def abba(runs: Sequence[Run]) -> list[Run]:
    """Timing launches in their order: block by block (a block is a seed), in it length by length
    and arm by arm, every other block backwards: A B, B A, A B ... So what drifts slowly, such as
    a machine's temperature, falls on all arms alike.
    """
    ordered: list[Run] = []
    for place, seed in enumerate(dict.fromkeys(run.seed for run in runs)):
        block = sorted((run for run in runs if run.seed == seed), key=lambda run: run.last_update)
        ordered += reversed(block) if place % 2 else block
    return ordered


def _runs_of(
    arm: Arm,
    place: Mapping[str, Any],
    ends: list[Endpoint],
    outside: Mapping[str, Any],
    *,
    whole: bool,
) -> list[Run]:
    """The runs of one arm and seed: `place` holds what they share, `outside` enters their keys.

    `whole` makes each horizon a run of its own, as a cosine needs and a timing wants.
    """
    by_update: dict[int, list[Endpoint]] = {}
    for end in sorted(ends, key=lambda e: e.update):
        by_update.setdefault(end.update, []).append(end)

    def run(**fields: Any) -> Run:
        return _run(arm, arm.config, place, outside, **fields)

    schedule = arm.config.schedule
    starts = {
        update: min(schedule.warmup_updates, update) if schedule.name == "cosine"
        else update - max(1, round(schedule.decay_fraction * update))
        for update in by_update
    }  # fmt: skip
    if whole or schedule.name == "cosine":
        return [
            run(
                stage=f"train-{together[0].horizon}", first_update=0, last_update=update,
                decay_start=starts[update], branch_at=(), endpoints=tuple(together), after=None,
            )
            for update, together in by_update.items()
        ]  # fmt: skip
    stem = run(
        stage="stem", first_update=0, last_update=max(starts.values()), decay_start=None,
        branch_at=tuple(sorted(set(starts.values()))), endpoints=(), after=None,
    )  # fmt: skip
    decays = [
        run(
            stage=f"decay-{together[0].horizon}", first_update=starts[update], last_update=update,
            decay_start=starts[update], branch_at=(), endpoints=tuple(together), after=stem,
            start="branch",
        )
        for update, together in by_update.items()
    ]  # fmt: skip
    return [stem, *decays]


def _stages_of(
    arm: Arm,
    place: Mapping[str, Any],
    outside: Mapping[str, Any],
    taken: Sequence[Stage],
    beginning: tuple[str | None, str | None],
    tokenizer_digest: Callable[[DataConfig], str],
) -> list[Run]:
    """The runs of one arm and seed in a recipe with stages: one for each stage of `taken`.

    `beginning` is the stage that starts from a given model, and which model that is.
    """
    wanted = {stage.name for stage in taken}
    runs: dict[str, Run] = {}
    for step in arm.steps:
        if step.stage.name not in wanted:
            continue
        first, given = beginning
        if step.stage.name != first:
            given = None
        parent = runs[step.stage.after] if step.stage.after and not given else None
        schedule = step.config.schedule
        length = Tokens(step.config.train.tokens, step.stage.name)
        end = endpoint(length, dataclasses.replace(arm, config=step.config), ())
        decay = max(1, round(schedule.decay_fraction * end.update))
        runs[step.stage.name] = _run(
            arm, step.config, place,
            {**outside, "tokenizer": tokenizer_digest(step.config.data)},
            stage=step.stage.name, first_update=0, last_update=end.update,
            decay_start=min(schedule.warmup_updates, end.update)
            if schedule.name == "cosine" else end.update - decay,
            branch_at=(), endpoints=(end,), after=parent, given=given,
            start="given" if given else "final" if parent else "init",
            stage_diff=dict(step.changed), prompts=tuple(step.stage.prompts),
        )  # fmt: skip
    return list(runs.values())


NO_RESULT = ("stage", "endpoints", "stage_diff", "prompts")
"""What cannot change what a run computes beyond its configuration: not in the key."""


def _run(
    arm: Arm,
    config: RunConfig,
    place: Mapping[str, Any],
    outside: Mapping[str, Any],
    after: Run | None,
    **fields: Any,
) -> Run:
    chain = {k: v for k, v in fields.items() if k not in NO_RESULT}

    def key(parent: str | None, **changed: Any) -> str:
        return key_of(config, place["seed"], **{**outside, **changed}, **chain, parent=parent)

    parent = after.key if after else None
    alone = key(after.key_alone if after else None, world_size=1)
    return Run(
        **place, arm=arm.name, repeat=0, config=config, **fields, parent=parent,
        key=key(parent), key_alone=alone,
    )  # fmt: skip


def describe(plan: Plan) -> list[dict[str, Any]]:
    """One row an arm: its difference, parameters, tokens and FLOPs; for `smol show`."""
    rows = []
    for arm in plan.arms:
        first = plan.entry.first_seed
        ends = [e for r in plan.runs if (r.arm, r.seed) == (arm.name, first) for e in r.endpoints]
        rows.append(
            {
                "arm": arm.name,
                "note": plan.recipe.notes.get(arm.name, ""),
                "diff": {
                    path: value
                    for path, value in arm.diff.items()
                    # What was counted of a part stands among the parameters and FLOPs.
                    if path in flatten(arm.config) and ".counted" not in path
                },
                "total_parameters": total_parameters(arm.config.model),
                "active_parameters": active_parameters(arm.config.model),
                "flops_per_token": known_flops_per_token(arm.config.model, arm.config.data.seq_len),
                "stages": [
                    {
                        "stage": step.stage.name,
                        "after": step.stage.after,
                        "diff": dict(step.changed),
                    }
                    for step in arm.steps
                ],
                "endpoints": [e.model_dump() for e in ends],
            }
        )
    return rows
