"""Scores of items: errors against simulated truth, false alarms, signal and noise."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from harness.stats import items
from harness.stats.items import Answers

TASKS, ITEMS = 19, 200


def draw(generator: np.random.Generator, n: int, skill: float = 0.0, choices: int = 4):
    """Two models' (nats, right) on `n` items that share what is hard about them; the second has
    `skill` nats less to pay. Answers' nats have long tails, as real ones do."""
    sizes = generator.integers(4, 60, n)
    hard = generator.gamma(2.0, 0.35, n) * sizes
    own = generator.gamma(0.5, 0.3, (2, n)) * np.sqrt(sizes)
    likely = generator.normal(0.0, 1.0, n) + generator.normal(0.0, 0.7, (2, n))
    right = (likely > 0.67).astype(np.int64)  # one in four
    return sizes, hard + own - np.array([[0.0], [skill]]) * sizes, right


def test_errors_are_those_of_many_draws():
    generator = np.random.default_rng(0)
    bits, right, said = [], [], []
    for _ in range(2000):
        sizes, nats, correct = draw(generator, ITEMS)
        share = items.bits_per_byte(nats[0], sizes)
        assert share.value == pytest.approx(nats[0].sum() / math.log(2) / sizes.sum())
        rank = items.accuracy(correct[0])
        bits.append(share.value)
        right.append(rank.value)
        said.append((share.error, rank.error))
    errors = np.array(said).mean(axis=0)
    assert errors == pytest.approx([np.std(bits), np.std(right)], rel=0.06)


def one_seed(generator: np.random.Generator, planted: float):
    sizes, nats, right = draw(generator, ITEMS, planted)
    bits = items.bits_difference(nats[0], nats[1], sizes)
    return bits, items.accuracy_difference(right[0], right[1]), None


def four_seeds(generator: np.random.Generator, planted: float):
    """Each seed is better or worse than another on every task, in a way of its own."""
    sizes = generator.integers(4, 60, ITEMS)
    own = generator.normal(0.0, 0.02, (2, 4, 1)) * sizes
    cells = generator.gamma(0.5, 0.3, (2, 4, ITEMS)) * np.sqrt(sizes) + own
    cells[1] -= 6 * planted * sizes
    chance = 0.25 + generator.normal(0.0, 0.03, (2, 4, 1))
    right = (generator.random((2, 4, ITEMS)) < chance).astype(np.int64)
    bits = items.over_seeds(cells[0], cells[1], sizes)
    seeds = (cells[1] - cells[0]).sum(axis=1) / sizes.sum()
    return bits, items.over_seeds(right[0], right[1], np.ones(ITEMS)), seeds


@pytest.mark.parametrize(("made", "trials"), [(one_seed, 500), (four_seeds, 250)])
def test_equal_models_are_told_apart_in_one_comparison_of_twenty(made, trials):
    """A/A: 19 tasks in two scores each, and the mean; in every second trial one task's is real."""
    generator = np.random.default_rng(11)
    alarms, found = [], []
    for trial in range(2 * trials):
        planted = 0.08 if trial % 2 else 0.0
        told = [made(generator, planted if task == 0 else 0.0) for task in range(TASKS)]
        pairs = [one for bits, right, _ in told for one in (bits, right)]
        by_seed = [seeds for *_, seeds in told]
        if made is one_seed:
            mean = items.of_tasks(pairs[::2], TASKS * ITEMS)
        else:
            mean = items.of_seeds(np.array(by_seed).T)
        whole, shown = items.differ(mean, pairs)
        (found if planted else alarms).append(shown[0] if planted else whole or any(shown))
    assert sum(alarms) / trials <= 0.06
    assert sum(found) / trials > 0.8  # what is there is seen


def test_few_items_that_one_alone_has_right_prove_nothing():
    one = np.zeros(400, dtype=np.int64)
    other = one.copy()
    other[:4] = 1
    assert items.accuracy_difference(one, other).p_value == pytest.approx(0.125)
    assert items.accuracy_difference(one, one).p_value == 1.0
    assert items.bits_difference(one * 1.0, one * 1.0, one + 3).p_value == 1.0


def test_a_planted_signal_is_measured_and_noise_alone_is_grey():
    generator = np.random.default_rng(4)
    ratios = []
    for _ in range(400):
        means = [generator.normal(0.0, 5.0, 6) for _ in range(2)]
        found = items.signal([[generator.normal(m, 1.0, 3) for m in arm] for arm in means])
        ratios.append((found.signal, found.noise))
        assert (found.groups, found.seeds) == (12, 24)
    signal, noise = np.sqrt((np.array(ratios) ** 2).mean(axis=0))
    assert (signal, noise) == pytest.approx((5.0, 1.0), rel=0.08)
    flat = [
        items.signal([[generator.normal(0.0, 1.0, 3) for _ in range(6)] for _ in range(2)])
        for _ in range(400)
    ]
    assert max(one.ratio for one in flat) < items.RATIO
    assert items.signal([[[1.0], [2.0]]]) is None  # no seeds
    assert items.signal([[[1.0, 2.0]]]) is None  # one model


def test_answers_are_read_as_they_were_written():
    right = np.array([0, 1, 1])
    answers = Answers(
        ("a", "b", "c"), np.array([1.5, 2.25, 3.0]), np.array([3, 4, 5]), right, right[::-1], 2
    )
    again = Answers.from_json(json.loads(json.dumps(answers.as_json())))
    some = again.only(["c", "a"])
    assert (some.items, some.nats.tolist(), some.correct.tolist()) == (
        ("c", "a"),
        [3.0, 1.5],
        [1, 0],
    )
    with pytest.raises(ValueError, match="not one value an item"):
        Answers.from_json({**answers.as_json(), "nats": [1.0]})
