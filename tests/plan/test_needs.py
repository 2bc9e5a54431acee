"""Passes over the data, disk and memory that a plan says it needs."""

from __future__ import annotations

import pytest

from harness.errors import RequestError
from harness.plan import needs
from harness.plan import runs as planning
from harness.plan.resolved import resolve
from harness.plan.runs import Where
from harness.recipe import find
from models.config import total_parameters


def plan_of(name: str, scale: str = "full"):
    return planning.make(resolve(find(name), scale, {}), Where("cuda", "a card"), lambda d: "t")


def test_a_question_at_full_size_reads_nothing_twice() -> None:
    for name in ("dense_vs_moe", "optimizers", "noise_floor", "as_published", "pretrain_sft"):
        passes = needs.epochs(plan_of(name).runs, lambda data: None)
        assert passes is not None
        assert passes[0] <= 1.0, name


def test_passes_are_those_of_the_longest_run_over_what_was_prepared() -> None:
    plan = plan_of("dense_vs_moe")
    passes = needs.epochs(plan.runs, lambda data: 9_250_000)
    assert passes is not None
    assert passes[0] == pytest.approx(221_085_696 / 9_250_000)
    assert (passes[1].arm, passes[2]) == ("moe-160m", True)


def test_disk_is_what_the_files_come_to() -> None:
    plan = plan_of("pretrain_sft")
    weights = 4 * total_parameters(plan.arms[0].config.model)
    # Two of the second stage's states, one being written, its final weights, and the first's.
    assert needs.disk_bytes(plan.runs) == 2 * 3 * weights + 2 * weights
    assert needs.disk_bytes(plan.runs, keeps=10**10) == (2 * 3 + 3 + 2) * weights


def test_branches_are_held_until_all_that_starts_from_them_has_ended() -> None:
    plan = plan_of("noise_floor")
    weights = 4 * total_parameters(plan.arms[0].config.model)
    chains = len(plan.runs) // 2
    # Before the last chain's decay: final weights of all before it, its stem's, and its branch.
    most = (2 * (chains - 1) + 1 + 3) * weights + (2 * 3 + 1) * weights
    assert needs.disk_bytes(plan.runs) == most


def test_more_than_four_passes_are_refused_without_a_word() -> None:
    from harness.commands.run import _check_epochs

    plan = plan_of("dense_vs_moe")

    class Prepared:
        class manifest:
            train_tokens = 9_250_000

    class Every(dict):
        def __missing__(self, key: str):
            return Prepared

    with pytest.raises(RequestError, match=r"23\.9 passes over 9,250,000 tokens.*--repeat-data"):
        _check_epochs(plan, plan.runs, Every())
