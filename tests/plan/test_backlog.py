"""What counts as finished, what as outdated, and which parents must run again."""

from __future__ import annotations

import pytest

from harness.code.provenance import software_set
from harness.evidence import query
from harness.plan import backlog
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
