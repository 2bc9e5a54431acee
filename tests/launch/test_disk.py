"""States that have served go, and no others; room is asked for beforehand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import RequestError
from harness.launch import disk as disks
from harness.launch.disk import Disk
from harness.launch.protocol import RunFiles, run_folder
from harness.plan import needs
from tests.report import factory

PLAN = factory.make_plan("smoke", 1)
CHAIN = [run for run in PLAN.runs if run.arm == "moe-total"]
GB = 10**9


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Folders with all the states of a chain, as its runs leave them; every state counts as
    large."""
    monkeypatch.setattr(disks, "SMALL_BYTES", 0)
    for run in CHAIN:
        files = RunFiles(run_folder(tmp_path, run))
        files.folder.mkdir(parents=True)
        for path in (files.checkpoint, files.final, *(files.branch(u, "c") for u in run.branch_at)):
            path.write_bytes(b"x")
    return tmp_path


def left(place: Path, name: str) -> int:
    return len(list(place.rglob(name)))


def end(disk: Disk, run, status: str = "ok") -> None:
    disk.ended(SimpleNamespace(run=run), SimpleNamespace(status=status))


def test_a_parents_branches_go_with_the_last_of_its_children(place):
    stem, *decays = CHAIN
    assert len(decays) == 2
    assert len(stem.branch_at) == left(place, "branch-*.pt")
    disk = Disk(PLAN.runs, (), place, print)
    end(disk, stem)
    assert left(place, "model.pt") == len(decays)
    assert left(place, "branch-*.pt") == len(stem.branch_at)
    end(disk, decays[0])
    end(disk, decays[1], "failed")  # it will be tried again
    assert left(place, "branch-*.pt") == len(stem.branch_at)
    assert left(place, "model.pt") == 1
    end(disk, decays[1])
    assert left(place, "branch-*.pt") == left(place, "model.pt") == 0
    assert left(place, "final_model.pt") == len(CHAIN)


def test_what_ended_in_an_earlier_command_counts_and_what_did_not_does_not(place):
    stem, first, second = CHAIN
    disk = Disk(PLAN.runs, (stem.key,), place, print)  # the first is of nobody's command yet
    end(disk, second)
    assert left(place, "branch-*.pt") == len(stem.branch_at)
    disk = Disk(PLAN.runs, (stem.key, first.key), place, print)
    end(disk, second)
    assert left(place, "branch-*.pt") == 0


def test_small_states_stay(place, monkeypatch):
    monkeypatch.setattr(disks, "SMALL_BYTES", GB)
    disk = Disk(PLAN.runs, (), place, print)
    for run in CHAIN:
        end(disk, run)
    assert left(place, "model.pt") == len(CHAIN)


def test_no_room_is_said_before_anything_starts(place, monkeypatch):
    said: list[str] = []
    disk = Disk(PLAN.runs, (), place / "not" / "there", said.append)
    free = [0]
    monkeypatch.setattr(disks.shutil, "disk_usage", lambda path: SimpleNamespace(free=free[0]))
    with pytest.raises(RequestError, match=r"of disk for its states, and 0\.0 GB are free"):
        disk.check_all(CHAIN)
    one = max(needs.running_bytes(run) for run in CHAIN) + disks.SPARE_BYTES
    free[0] = int(one) + 1
    monkeypatch.setattr(disks, "SPARE_BYTES", 0)
    for run in CHAIN:
        disk.check(SimpleNamespace(run=run))
    assert said == []
    free[0] = int(max(needs.running_bytes(run) for run in PLAN.runs)) + 1
    disk.check_all(PLAN.runs)
    assert len(said) == 1
    assert "the same command goes on" in said[0]
    free[0] = 100 * GB
    said.clear()
    disk.check_all(PLAN.runs)
    assert said == []
