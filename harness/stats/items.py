"""What answers to a task's items are worth: scores with their errors, paired differences, and
whether a task tells models apart at all. Pure arithmetic on arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy  # `scipy.special` loads when it is first asked for: a quarter of a second

from harness.stats.crossed import crossed_difference
from harness.stats.inference import LEVEL, Estimate, holm_levels, t_interval

OF_MEAN, OF_TASKS = 0.04, 0.01
"""How many comparisons of two equal models may find a difference: in the mean, in any task."""
MEAN_LEVEL = 1.0 - OF_MEAN
RATIO = 3.0
"""Of signal to noise; a task that has less cannot order neighbouring sizes with a few seeds."""


@dataclass(frozen=True)
class Answers:
    """What one model said to the items of a task; arrays hold a value an item."""

    items: tuple[str, ...]
    """Their names: those that the model could be asked."""
    nats: np.ndarray
    """Less the log-likelihood of the right answer."""
    sizes: np.ndarray
    """UTF-8 bytes of the right answer."""
    correct: np.ndarray | None
    """1 where the right answer is the likeliest; None where there is no choice."""
    normed: np.ndarray | None
    """1 where it is the likeliest a character."""
    cut: int = 0
    """Items whose beginning the model did not see."""

    def only(self, items: Sequence[str]) -> Answers:
        """Those to some items, in their order."""
        places = {name: i for i, name in enumerate(self.items)}
        at = [places[name] for name in items]
        one, two = (None if of is None else of[at] for of in (self.correct, self.normed))
        return Answers(tuple(items), self.nats[at], self.sizes[at], one, two, self.cut)

    def as_json(self) -> dict[str, Any]:
        """Nats are rounded to 1e-4."""
        bits = [
            None if of is None else "".join(map(str, of.tolist()))
            for of in (self.correct, self.normed)
        ]
        return {
            "items": list(self.items), "nats": [round(value, 4) for value in self.nats.tolist()],
            "bytes": self.sizes.tolist(), "correct": bits[0], "normed": bits[1], "cut": self.cut,
        }  # fmt: skip

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Answers:
        """What `as_json` gave. Raises ValueError, KeyError or TypeError for anything else."""
        bits = [
            None if text is None else np.array([int(one) for one in text], dtype=np.int64)
            for text in (said["correct"], said["normed"])
        ]
        made = cls(
            tuple(said["items"]), np.array(said["nats"], dtype=np.float64),
            np.array(said["bytes"], dtype=np.int64), bits[0], bits[1], int(said["cut"]),
        )  # fmt: skip
        for of in (made.nats, made.sizes, made.correct, made.normed):
            if of is not None and len(of) != len(made.items):
                raise ValueError("not one value an item")
        return made


class ItemScore(NamedTuple):
    """A score with its standard error over items."""

    value: float
    error: float | None
    """None for a single item."""


def accuracy(correct: np.ndarray) -> ItemScore:
    """Of answers that are right (1) or wrong (0); the standard error is of independent items, as
    lm-evaluation-harness has it."""
    n = len(correct)
    error = float(correct.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    return ItemScore(float(correct.mean()), error)


def bits_per_byte(nats: np.ndarray, sizes: np.ndarray) -> ItemScore:
    """Of the right answers: summed nats / ln 2 / summed bytes. The error is that of a ratio of
    sums (Cochran 1977, Sampling Techniques, 6.5)."""
    n, ratio = len(nats), float(nats.sum() / sizes.sum())
    error = None
    if n > 1:
        error = float((nats - ratio * sizes).std(ddof=1)) * math.sqrt(n) / float(sizes.sum())
        error /= math.log(2)
    return ItemScore(ratio / math.log(2), error)


class ItemDifference(NamedTuple):
    """One model's score less another's, on the same items."""

    value: float
    interval: tuple[float, float] | None
    """95 %, of this task alone; of a mean over tasks 96 %, at which it is judged."""
    p_value: float | None
    """Two-sided, that there is none."""
    error: float | None
    """Standard error."""


def accuracy_difference(one: np.ndarray, other: np.ndarray) -> ItemDifference:
    """`other` less `one`, of answers that are right (1) or wrong (0). The p-value is the exact
    sign test's over items that only one of them has right (McNemar 1947, Psychometrika 12): a t
    test is too bold where these are few."""
    apart = other.astype(np.int64) - one.astype(np.int64)
    better, worse = int((apart > 0).sum()), int((apart < 0).sum())
    n = better + worse
    tail = float(scipy.special.bdtr(min(better, worse), n, 0.5)) if n else 1.0
    found = t_interval([float(value) for value in apart])
    return ItemDifference(float(apart.mean()), found.interval, min(1.0, 2.0 * tail), found.error)


def bits_difference(one: np.ndarray, other: np.ndarray, sizes: np.ndarray) -> ItemDifference:
    """`other` less `one`, both the nats of the right answers, in bits a byte of these."""
    share = bits_per_byte(other - one, sizes)
    return _difference(share.value, share.error, len(sizes) - 1)


def over_seeds(one: np.ndarray, other: np.ndarray, weights: np.ndarray) -> ItemDifference:
    """`other` less `one`, arrays of (seeds, items) paired in both: the mean weighted by `weights`
    (items), with an interval over seeds and items, crossed. For accuracies weights are 1.

    The degrees of freedom are those of the seeds: the crossed error's own are an estimate that is
    too bold with few seeds so far out in the tail as many tasks together ask for.
    """
    cells = (other - one).astype(np.float64)
    means = cells.sum(axis=1) / weights.sum()
    found = crossed_difference([float(mean) for mean in means], cells, weights.astype(np.float64))
    return _difference(float(means.mean()), found.error, len(means) - 1)


def of_tasks(differences: Sequence[ItemDifference], items: int) -> ItemDifference:
    """The plain mean of independent tasks' differences, whose errors are over `items` in all."""
    k = len(differences)
    errors = [one.error for one in differences]
    total = None if None in errors else math.hypot(*(e for e in errors if e is not None)) / k
    return _difference(sum(one.value for one in differences) / k, total, items - k, MEAN_LEVEL)


def of_seeds(differences: np.ndarray) -> ItemDifference:
    """The mean of (seeds, tasks) differences over both, with an interval over seeds."""
    found = t_interval([float(mean) for mean in differences.mean(axis=1)])
    return _difference(float(differences.mean()), found.error, len(differences) - 1, MEAN_LEVEL)


def _difference(value: float, error: float | None, df: int, level: float = LEVEL) -> ItemDifference:
    if error is None:
        return ItemDifference(value, None, None, None)
    found = Estimate(df + 1, value, None, None, LEVEL, error, df).at(level)
    return ItemDifference(value, found.interval, found.p_value, error)


def differ(mean: ItemDifference, tasks: Sequence[ItemDifference]) -> tuple[bool, list[bool]]:
    """Whether the mean over tasks is shown to differ, and which of the tasks' differences are: two
    equal models give any of these in at most one comparison of twenty. Four fifths of that are
    the mean's, the rest all tasks' together (Holm)."""
    known = [1.0 if one.p_value is None else one.p_value for one in tasks]
    levels = holm_levels(known, 1.0 - OF_TASKS)
    shown = [p <= 1.0 - own for p, own in zip(known, levels, strict=True)]
    return mean.p_value is not None and mean.p_value <= OF_MEAN, shown


@dataclass(frozen=True)
class Signal:
    """How far apart models are on a task, and how far apart seeds of one model."""

    signal: float
    """Standard deviation of the models' means, less what their seeds put into it."""
    noise: float
    """Standard deviation over seeds of one model."""
    groups: int
    seeds: int
    """Degrees of freedom of the noise."""

    @property
    def ratio(self) -> float:
        """Of the two; infinite where seeds do not differ at all."""
        if self.noise == 0.0:
            return math.inf if self.signal > 0.0 else 0.0
        return self.signal / self.noise


def signal(families: Sequence[Sequence[Sequence[float]]]) -> Signal | None:
    """`families` are arms, each a sequence of models (a size, a budget), each the scores of its
    seeds. The spread of means is taken within arms, the noise within models. None without two
    models of an arm, or without two seeds of a model."""
    models = [np.asarray(seeds, dtype=np.float64) for family in families for seeds in family]
    df = sum(len(seeds) - 1 for seeds in models if len(seeds))
    if df < 1:
        return None
    squares = sum(float(((seeds - seeds.mean()) ** 2).sum()) for seeds in models if len(seeds))
    noise = squares / df
    spreads, counts = [], 0
    for family in families:
        known = [np.asarray(seeds, dtype=np.float64) for seeds in family if len(seeds)]
        if len(known) < 2:
            continue
        means = np.array([seeds.mean() for seeds in known])
        taken = noise * float(np.mean([1 / len(seeds) for seeds in known]))
        spreads.append((len(known) - 1, float(means.var(ddof=1)) - taken))
        counts += len(known)
    if not spreads:
        return None
    variance = sum(n * v for n, v in spreads) / sum(n for n, _ in spreads)
    return Signal(math.sqrt(max(0.0, variance)), math.sqrt(noise), counts, df)
