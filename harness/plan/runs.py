"""Recipe x scale x device -> arms -> ordered runs. Pure: starts nothing, reads nothing.

Which arms there are, and which are refused, is `harness/plan/grid.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from harness.config import (
    DataConfig,
    Frozen,
    RunConfig,
    flatten,
)
from harness.errors import RequestError
from harness.plan import stages
from harness.plan.grid import Arm
from harness.plan.resolved import Resolved
from harness.recipe import Entry, Horizon, Recipe, Scale, Stage, Tokens
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
    """What the run starts from: an initialisation, the parent's branch (optimizer and all), the
    weights that the parent ended with, or a model that the user gave."""
    given: str | None = None
    """Which model that was: its kind and digest."""
    stage_diff: dict[str, Any] = Field(default_factory=dict)
    """Dotted fields in which the stage differs from its arm."""
    prompts: tuple[str, ...] = ()
    """Texts that are put to the model before and after the stage."""

    @property
    def name(self) -> str:
        """`recipe/arm/seed/stage`, as the door takes it."""
        return f"{self.recipe}/{self.arm}/{self.seed}/{self.stage}"


@dataclass(frozen=True)
class Plan:
    """All runs of a recipe at a scale on a device, parents before children."""

    resolved: Resolved
    """Its recipe with the stages that were planned."""
    device: str
    seeds: int
    runs: Sequence[Run]

    @property
    def entry(self) -> Entry:
        """The registered recipe."""
        return self.resolved.entry

    @property
    def recipe(self) -> Recipe:
        """As it was resolved."""
        return self.resolved.recipe

    @property
    def scale(self) -> Scale:
        """How big it is run."""
        return self.resolved.scale

    @property
    def arms(self) -> Sequence[Arm]:
        """Its grid."""
        return self.resolved.arms

    @property
    def profile(self) -> str | None:
        """The device profile that cut updates into micro-steps, if one did."""
        return self.resolved.cut_by

    @property
    def choices(self) -> Mapping[str, str]:
        """Field that was `auto` -> what was chosen, and why."""
        return self.resolved.choices

    @property
    def configs(self) -> list[RunConfig]:
        """The configurations of its runs."""
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


@dataclass(frozen=True)
class Where:
    """What the runs of a plan are to run on: it enters their keys."""

    device: str
    """As `--device` takes it."""
    device_class: str
    """GPU product, or CPU model and instruction set."""
    world_size: int = 1
    """Processes that share each run's updates."""


def make(
    resolved: Resolved,
    where: Where,
    tokenizer_digest: Callable[[DataConfig], str],
    *,
    seeds: int | None = None,
    given: str | None = None,
    start: str | None = None,
) -> Plan:
    """The plan of a recipe: seed by seed, arm by arm, parents before children.

    `tokenizer_digest` gives the digest of the tokenizer that a data specification leads to.
    `given` names a model that the stage `start` (or the first) begins with; stages that do not
    follow from it are not planned. Raises RequestError.
    """
    entry, recipe, grid = resolved.entry, resolved.recipe, resolved.arms
    if not recipe.runs_on(where.device):
        raise RequestError(
            f"recipe '{entry.name}' needs --device {' or '.join(recipe.devices)}: {entry.summary}"
        )
    count = seeds if seeds is not None else entry.seeds[resolved.scale]
    if count < 1:
        raise RequestError(f"--seeds must be at least 1, not {count}")
    taken, first = stages.chosen(recipe.stages, start, given is not None)
    recipe = dataclasses.replace(recipe, stages=taken)
    _check_shared(grid, where.world_size)
    runs: list[Run] = []
    for seed in range(entry.first_seed, entry.first_seed + count):
        for arm in grid:
            ends = [endpoint(horizon, arm, grid) for horizon in recipe.horizons]
            outside = {"device_class": where.device_class, "world_size": where.world_size}
            place: dict[str, Any] = dict(
                recipe=entry.name, seed=seed, scale=resolved.scale, device=where.device,
                world_size=where.world_size, profile=resolved.cut_by,
            )  # fmt: skip
            if recipe.stages:
                runs += _stages_of(arm, place, outside, taken, (first, given), tokenizer_digest)
            else:
                outside["tokenizer"] = tokenizer_digest(arm.config.data)
                runs += _runs_of(arm, place, ends, outside, whole=recipe.timing is not None)
    if recipe.timing is not None:
        runs = abba(runs)
    resolved = dataclasses.replace(resolved, recipe=recipe)
    return Plan(resolved, where.device, count, runs)


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
