"""What a suite of questions says of a model, of two, or of a whole ladder's runs. Pure."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records.schema import Record
from harness.stats import items
from harness.stats.items import Answers, ItemDifference, ItemScore

if TYPE_CHECKING:
    from harness.data.suite import ItemTask

BITS, CORRECT, NORMED = "bits_per_byte", "accuracy", "acc_norm"
JUDGED = (BITS, NORMED)
"""What two models are compared in, and tasks are greyed by."""


@dataclass(frozen=True)
class Member:
    """A model that was asked."""

    name: str
    dtype: str
    context: int
    weights: str
    """Their digest."""
    parameters: int | None
    answers: Mapping[str, Answers]
    """By task."""
    record: Record | None


def one(asked: Sequence[ItemTask], member: Member, against: Member | None) -> dict[str, Any]:
    """A model's scores, and where another was asked too, its scores and the differences."""
    said = _about(member) | {"tasks": scores(asked, member)}
    if against is not None:
        said["against"] = _about(against) | {"tasks": scores(asked, against)}
        said["differences"] = _judged(asked, [against], [member], asked)
    return said


def scores(asked: Sequence[ItemTask], member: Member) -> dict[str, Any]:
    """Task -> what was asked, and each score with its standard error over items."""
    said: dict[str, Any] = {}
    for task in asked:
        given = member.answers[task.name]
        said[task.name] = {
            "items": len(given.items),
            "left_out": len(task.items) - len(given.items),
            "cut": given.cut,
            "chance": task.chance,
            "digest": task.digest,
            **{metric: _share(share) for metric, share in _shares(given).items()},
        }
    return said


def ladder(
    asked: Sequence[ItemTask], members: Sequence[Member], reference: Member | None
) -> dict[str, Any]:
    """Of many runs: each task's signal and noise, the means, and the arms' differences."""
    asked = [task for task in asked if _shared(task, members)]
    runs = _Runs(members)
    tasks: dict[str, Any] = {}
    for task in asked:
        keep = _shared(task, members)
        value = {
            (id(member), metric): share.value
            for member in members
            for metric, share in _shares(member.answers[task.name].only(keep)).items()
        }
        tasks[task.name] = {"items": len(keep), "chance": task.chance, "digest": task.digest} | {
            metric: _told(runs, metric, value) for metric in (JUDGED if task.ranked else (BITS,))
        }
    said: dict[str, Any] = {
        "runs": len(members), "arms": sorted(runs.arms), "ratio": items.RATIO,
        "models": [list(model) for model in runs.models], "tasks": tasks,
        "differences": runs.differences(
            asked, [task for task in asked if not tasks[task.name][BITS]["grey"]]
        ),
    }  # fmt: skip
    if reference is not None:
        said["reference"] = _about(reference) | {"tasks": scores(asked, reference)}
    return said


class _Runs:
    """Members by what they are: arm, then model (scale, horizon), then seed."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.arms: dict[str, dict[tuple[str, str], dict[int, Member]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        size: dict[tuple[str, str], tuple[int, int]] = {}
        self.records = [one.record for one in members if one.record is not None]
        self.at = {record.question.at for record in self.records}
        for member in members:
            record = member.record
            assert record is not None  # members of a results folder are runs
            model = record.scale, record.ends[-1].horizon
            self.arms[f"{record.recipe}/{record.arm}"][model][record.seed] = member
            size[model] = record.total_parameters, record.ends[-1].tokens
        self.models = sorted(size, key=lambda model: size[model])

    def lines(self) -> list[list[list[Member]]]:
        """Sequences of models that should get better: an arm at one horizon, over scales."""
        horizons = dict.fromkeys(horizon for _, horizon in self.models)
        found = []
        for arm in self.arms.values():
            for horizon in horizons:
                line = [list(arm[m].values()) for m in self.models if m[1] == horizon and m in arm]
                if len(line) > 1:
                    found.append(line)
        return found

    def differences(
        self, asked: Sequence[ItemTask], counted: Sequence[ItemTask]
    ) -> list[dict[str, Any]]:
        """Of the questions' pairs at each scale, at the question's horizon, over seeds and items;
        over items alone where there is one seed. `counted` enter the mean."""
        found = []
        pairs = dict.fromkeys((r.recipe, *pair) for r in self.records for pair in r.question.pairs)
        for recipe, left, right in pairs:
            one, other = f"{recipe}/{left}", f"{recipe}/{right}"
            for model in self.models:
                if model[1] not in self.at or one not in self.arms or other not in self.arms:
                    continue
                sides = self.arms[one].get(model, {}), self.arms[other].get(model, {})
                if seeds := sorted(set(sides[0]) & set(sides[1])):
                    left_runs, right_runs = ([side[seed] for seed in seeds] for side in sides)
                    found.append({
                        "one": other, "less": one, "scale": model[0], "seeds": len(seeds),
                        **_judged(asked, left_runs, right_runs, counted),
                    })  # fmt: skip
        return found


def _told(runs: _Runs, metric: str, values: Mapping[tuple[int, str], float]) -> dict[str, Any]:
    """Means by arm and model, signal and noise, and along how many lines the means get better."""

    def value(member: Member) -> float:
        return values[id(member), metric]

    by = {
        arm: {model: [value(one) for one in models[model].values()] for model in runs.models
              if model in models}
        for arm, models in runs.arms.items()
    }  # fmt: skip
    found = items.signal([list(models.values()) for models in by.values()])
    sign = -1.0 if metric == BITS else 1.0
    lines = [
        [sign * float(np.mean([value(one) for one in seeds])) for seeds in line]
        for line in runs.lines()
    ]
    rising = sum(all(a < b for a, b in itertools.pairwise(line)) for line in lines)
    return {
        "means": {
            arm: {" ".join(model): float(np.mean(seeds)) for model, seeds in models.items()}
            for arm, models in by.items()
        },
        "signal": None if found is None else found.signal,
        "noise": None if found is None else found.noise,
        "ratio": None if found is None or math.isinf(found.ratio) else found.ratio,
        "grey": found is None or found.ratio < items.RATIO,
        "monotone": [rising, len(lines)],
    }


def _shared(task: ItemTask, members: Sequence[Member]) -> list[str]:
    """The items that all of them could be asked."""
    common = set.intersection(*(set(one.answers[task.name].items) for one in members))
    return [item.name for item in task.items if item.name in common]


def _shares(given: Answers) -> dict[str, ItemScore]:
    if not given.items:
        return {}
    found = {BITS: items.bits_per_byte(given.nats, given.sizes)}
    if given.correct is not None and given.normed is not None:
        found |= {CORRECT: items.accuracy(given.correct), NORMED: items.accuracy(given.normed)}
    return found


def _crossed(
    one: Sequence[Member], other: Sequence[Member], task: ItemTask
) -> dict[str, ItemDifference]:
    """`other` less `one`, seeds in the same order."""
    keep = _shared(task, [*one, *other])
    if not keep:
        return {}
    a, b = ([member.answers[task.name].only(keep) for member in side] for side in (one, other))
    sizes = a[0].sizes
    if len(a) == 1:
        found = {BITS: items.bits_difference(a[0].nats, b[0].nats, sizes)}
        if task.ranked:
            found[NORMED] = items.accuracy_difference(a[0].normed, b[0].normed)  # type: ignore[arg-type]
        return found
    nats = [np.array([given.nats for given in side]) / math.log(2) for side in (a, b)]
    found = {BITS: items.over_seeds(nats[0], nats[1], sizes)}
    if task.ranked:
        right = [np.array([given.normed for given in side]) for side in (a, b)]
        found[NORMED] = items.over_seeds(right[0], right[1], np.ones(len(keep)))
    return found


def _judged(
    asked: Sequence[ItemTask],
    one: Sequence[Member],
    other: Sequence[Member],
    counted: Sequence[ItemTask],
) -> dict[str, Any]:
    """`other` less `one`: task -> metric -> its difference, and the mean of the bits per byte of
    those that are `counted`. Which are shown is decided for all of them together."""
    found = {task.name: _crossed(one, other, task) for task in asked}
    family = [(name, metric) for name, of in found.items() for metric in of]
    mean = _mean(one, other, [task for task in counted if found[task.name]])
    shown, each = items.differ(mean, [found[name][metric] for name, metric in family])
    said: dict[str, Any] = {name: {} for name in found}
    for (name, metric), differs in zip(family, each, strict=True):
        said[name][metric] = _said(found[name][metric], differs)
    return {"mean": {**_said(mean, shown), "of": len(counted)}, "tasks": said}


def _mean(
    one: Sequence[Member], other: Sequence[Member], counted: Sequence[ItemTask]
) -> ItemDifference:
    """Of the tasks' bits per byte: over items where there is one seed, else over seeds."""
    if not counted:
        return ItemDifference(math.nan, None, None, None)
    cells = [
        [_crossed([a], [b], task)[BITS] for task in counted]
        for a, b in zip(one, other, strict=True)
    ]
    if len(cells) > 1:
        return items.of_seeds(np.array([[cell.value for cell in row] for row in cells]))
    return items.of_tasks(cells[0], sum(len(_shared(task, [*one, *other])) for task in counted))


def _said(of: ItemDifference, differs: bool) -> dict[str, Any]:
    value = None if math.isnan(of.value) else of.value
    return {"value": value, "interval": of.interval, "p": of.p_value, "differs": differs}


def _about(member: Member) -> dict[str, Any]:
    return {
        "model": member.name, "weights": member.weights, "dtype": member.dtype,
        "context": member.context,
    }  # fmt: skip


def _share(share: ItemScore) -> dict[str, float | None]:
    return {"value": share.value, "stderr": share.error}
