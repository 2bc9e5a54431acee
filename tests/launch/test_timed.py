"""Timed jobs: alone, after calm, with a cache of their own; blocks that run again as a whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.code.provenance import software_set
from harness.evidence import query
from harness.launch import base
from harness.launch.launchers import local
from harness.launch.protocol import Job
from harness.plan import backlog
from harness.records.schema import Code, Launch
from harness.records.seen import MachineState
from tests.report import factory, test_throughput

CALM = MachineState(load=0.5, others=0.02, gpu=None, gpu_note=None)
PLAN = test_throughput.MADE


def job(folder, launch: Launch | None) -> Job:
    return Job(
        run=PLAN.runs[0], question=factory.question(PLAN),
        code=Code(source_digest="c", commit=None, dirty=None), arm_values={}, diff={},
        command="smol run", results=str(folder / "results"), folder=str(folder / "run"),
        data_folder=str(folder / "data"), parent_folder=None, concurrent_runs=1,
        launch=launch, launched_at=0.0,
    )  # fmt: skip


@pytest.fixture
def started(monkeypatch):
    """The environments of the processes that would have been started."""
    seen: list[dict[str, str]] = []

    def popen(command, **options):
        seen.append(options["env"])
        return SimpleNamespace(poll=lambda: None)

    monkeypatch.setattr(local.subprocess, "Popen", popen)
    monkeypatch.setattr(local.warm, "possible", lambda: False)
    monkeypatch.setattr(base.surroundings, "wait_for_calm", lambda device: CALM)
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    return seen


@pytest.mark.parametrize("cache", ["private", "shared"])
def test_a_timed_job_knows_what_was_before_it_and_has_the_cache_it_asks_for(
    tmp_path, started, cache
):
    asked = job(tmp_path, Launch(campaign="now", place=3, cache=cache))
    asked.files.compile_cache.mkdir(parents=True)
    (asked.files.compile_cache / "warm").touch()
    child = local.Local().start(asked, tmp_path)
    written = Job.model_validate_json(asked.files.job.read_text("utf-8"), strict=False)
    assert written.launch == child.job.launch
    assert written.launch.before == CALM
    assert written.launch.place == 3
    assert written.launched_at > 0.0
    (environment,) = started
    if cache == "private":
        assert environment["TORCHINDUCTOR_CACHE_DIR"] == str(asked.files.compile_cache)
        assert not asked.files.compile_cache.exists()  # cold
    else:
        assert "TORCHINDUCTOR_CACHE_DIR" not in environment


def test_a_job_that_is_not_timed_waits_for_nothing(tmp_path, started, monkeypatch):
    def waits(device):
        raise AssertionError("nobody asked for calm")

    monkeypatch.setattr(base.surroundings, "wait_for_calm", waits)
    local.Local().start(job(tmp_path, None), tmp_path)
    assert "TORCHINDUCTOR_CACHE_DIR" not in started[0]


def sort(records) -> backlog.Backlog:
    one = records[0]
    current = query.Current(
        one.code.source_digest, software_set(one.software),
        lambda run: one.data.manifest_digest,
    )  # fmt: skip
    return backlog.sort(PLAN, records, current)


def test_a_lost_launch_brings_its_whole_block_back_and_no_other():
    records = test_throughput.campaign()
    assert sort(records).pending == []
    lost = [r for r in records if (r.arm, r.seed, r.stage) != ("whole", 3, "train-short")]
    todo = sort(lost).pending
    assert [run.name for run in todo] == ["compile_breakeven/whole/3/train-short"]
    again = backlog.whole_blocks(todo, PLAN)
    assert {run.seed for run in again} == {3}
    assert len(again) == 6
    assert again == [run for run in PLAN.runs if run.seed == 3]


def test_a_contaminated_launch_is_outdated_and_says_why():
    def busy(run, place):
        return {"contaminated": "other processes"} if place == 4 else {}

    found = sort(test_throughput.campaign(busy))
    (one,) = found.outdated
    assert one == (PLAN.runs[4], "contaminated (other processes)")


def test_other_recipes_run_only_what_is_missing():
    plan = factory.make_plan()
    assert backlog.whole_blocks(plan.runs[2:4], plan) == list(plan.runs[2:4])
