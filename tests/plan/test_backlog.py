"""What counts as finished, what as outdated, and which parents must run again."""

from __future__ import annotations

import dataclasses

import pytest

from harness.code.provenance import software_set
from harness.evidence import query
from harness.plan import backlog
from harness.plan.runs import Plan
from harness.recipe import LOOKS
from harness.records.schema import Record
from tests.plan import making
from tests.report import factory

PLAN = factory.make_plan()
RECORDS = factory.campaign()


def current(**changes: object) -> backlog.Current:
    one = RECORDS[0]
    fields = {
        "source_digest": one.code.source_digest,
        "software": software_set(one.software),
        "manifest_digest": lambda run: one.data.manifest_digest,
    }
    return query.Current(**{**fields, **changes})


def test_the_factorys_records_are_of_its_plan():
    assert {r.key for r in RECORDS} == {run.key for run in PLAN.runs}


def test_everything_finished_leaves_nothing_to_do():
    sorted_ = backlog.sort(PLAN, RECORDS, current())
    assert not sorted_.pending
    assert not sorted_.outdated
    assert len(sorted_.finished) == len(PLAN.runs)


def test_a_missing_or_failed_run_is_pending():
    lost, failed, *rest = RECORDS
    records = [factory.broken(failed, "killed", "ended by SIGKILL"), *rest]
    assert {run.key for run in backlog.sort(PLAN, records, current()).pending} == {
        lost.key,
        failed.key,
    }


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"source_digest": "0" * 16}, "code "),
        ({"software": ("3.11.7", "9.9", "2")}, "software "),
        ({"manifest_digest": lambda run: "0" * 64}, "data "),
    ],
)
def test_other_code_software_or_data_is_outdated_and_says_what_changed(changes, why):
    sorted_ = backlog.sort(PLAN, RECORDS, current(**changes))
    assert len(sorted_.outdated) == len(PLAN.runs)
    assert all(reason.startswith(why) for _, reason in sorted_.outdated)


def sequential(effect: float, seeds: int) -> tuple[Plan, list[Record]]:
    """A plan of eight seeds by a sequential design, and the records of its first `seeds`, whose
    arms differ by `effect` paired standard deviations, the pairs of fixed luck."""
    entry = dataclasses.replace(factory.entry(), seeds={"smoke": 8}, looks={"smoke": LOOKS})
    made = making.make(
        entry, "smoke", "cpu", tokenizer_digest=lambda data: "t0", device_class=factory.CPU
    )
    asked = factory.question(made, looks=LOOKS)
    records = [factory.record(made, run, asked) for run in made.runs if run.seed < seeds]
    luck = (0.9, -1.0, 0.4, -0.8, 1.1, -0.5, 0.6, -0.9)
    apart = (1.0, -1.0, 0.6, -0.7, 0.2, -0.1, 0.8, -0.8)  # paired, of standard deviation 0.8
    losses = {
        "dense": [6.0 + 0.1 * one for one in luck],
        "moe-active": [
            6.0 + 0.1 * one + 0.01 * (two + effect) for one, two in zip(luck, apart, strict=True)
        ],
    }
    return made, factory.with_losses(records, losses)


@pytest.mark.parametrize(
    ("effect", "there", "asked"),
    [
        (0.0, 0, {0, 1, 2}),  # nothing can be said of fewer
        (-5.0, 3, {3}),  # not yet surely
        (0.0, 4, set()),  # futile
        (-100.0, 3, set()),  # found
        (-100.0, 2, {2}),
        (-2.5, 8, set()),
    ],
)
def test_a_sequential_design_asks_for_the_next_seed_alone_and_for_none_once_it_stopped(
    effect: float, there: int, asked: set[int]
):
    made, records = sequential(effect, there)
    found = backlog.sort(made, records, current())
    assert {run.seed for run in found.missing} == asked
    assert {run.seed for run in found.unasked} == set(range(there, 8)) - asked
    assert {run.seed for run in found.finished} == set(range(there))


def test_records_of_another_recipe_do_not_count():
    records = [r.model_copy(update={"recipe": "another"}) for r in RECORDS]
    assert len(backlog.sort(PLAN, records, current()).pending) == len(PLAN.runs)


def test_only_a_lost_branch_brings_its_stem_back():
    decay = next(run for run in PLAN.runs if run.parent)
    runs, again = backlog.with_parents([decay], PLAN, lambda run: True)
    assert (runs, again) == ([decay], [])
    runs, again = backlog.with_parents([decay], PLAN, lambda run: False)
    assert [run.key for run in again] == [decay.parent]
    assert [run.key for run in runs] == [decay.parent, decay.key]
