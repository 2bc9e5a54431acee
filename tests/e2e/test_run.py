"""The main job through the real door, in a folder outside the clone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from harness.code.provenance import ROOT
from harness.records import store
from tests.e2e.conftest import Workspace


@pytest.fixture
def copy(finished: Workspace, tmp_path) -> Workspace:
    """The finished workspace, free to be changed."""
    shutil.copytree(finished.folder, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def test_it_leaves_records_card_figure_and_files(finished):
    records = finished.records()
    assert {(r.arm, r.seed, r.stage) for r in records} == {
        (arm, seed, stage)
        for arm in ("low", "high")
        for seed in (0, 1)
        for stage in ("stem", "decay-tokens")
    }
    assert {r.status for r in records} == {"ok"}
    card = (finished.results / "MODEL_CARD.md").read_text()
    assert "tiny_rates" in card
    assert list((finished.results / "figures").glob("tiny_rates*.png"))
    names = {p.name for p in finished.run_folder("low", 0, "decay-tokens").iterdir()}
    assert {"model.pt", "final_model.pt", "metrics.json", "metrics_plot.png"} <= names
    finished.smol("card", "--check", "--results", str(finished.results))


def test_a_stage_proves_its_hand_over(finished):
    decays = [r for r in finished.records() if r.stage == "decay-tokens"]
    assert decays
    for record in decays:
        before, after = record.handover_loss
        assert before == after  # same weights, same batch, same CPU: no tolerance needed


def test_the_card_names_no_machine_user_or_path(finished):
    home, host = os.path.expanduser("~"), os.uname().nodename
    for file in finished.results.rglob("*.json"):
        text = file.read_text()
        assert str(finished.folder) not in text
        assert home not in text
        assert f'"{host}"' not in text


def test_again_it_does_nothing_and_runs_just_what_is_missing(copy):
    assert "nothing to do" in copy.smol("run", "tiny_rates")
    victim = next(r for r in copy.records() if (r.arm, r.seed, r.stage) == ("low", 1, "stem"))
    path = copy.results / store.path_of(victim)
    path.unlink()
    (copy.run_folder("low", 1, "stem") / "model.pt").unlink()
    assert "1 runs of 8" in copy.smol("run", "tiny_rates")
    assert path.exists()
    again = next(r for r in copy.records() if r.key == victim.key)
    assert again.training == victim.training  # bit for bit, in another process


def test_finished_work_is_not_done_again_for_want_of_its_record(copy):
    """As after a kill, or on a full disk, between the last checkpoint and the record."""
    victims = [r for r in copy.records() if (r.arm, r.seed) == ("low", 0)]
    logs = [copy.run_folder("low", 0, r.stage) / "metrics.jsonl" for r in victims]
    for record, log in zip(victims, logs, strict=True):
        (copy.results / store.path_of(record)).unlink()
        (log.parent / "final_model.pt").unlink()
    before = [log.read_text() for log in logs]
    assert "2 runs of 8" in copy.smol("run", "tiny_rates")
    for old, log in zip(before, logs, strict=True):
        events = [json.loads(line)["event"] for line in log.read_text()[len(old) :].splitlines()]
        assert events == ["start", "resume", "record", "end"]
        assert (log.parent / "final_model.pt").exists()
    again = {r.key: r for r in copy.records()}
    for record in victims:
        assert (again[record.key].status, again[record.key].ends) == ("ok", record.ends)


def test_damaged_checkpoints_are_set_aside_and_made_again(copy):
    ends = {r.key: r.ends[0].val_loss for r in copy.records() if r.ends}
    stem, decay = copy.run_folder("low", 1, "stem"), copy.run_folder("high", 0, "decay-tokens")
    (branch,) = stem.glob("branch-*.pt")
    for arm, seed, broken in (("low", 1, branch), ("high", 0, decay / "model.pt")):
        content = bytearray(broken.read_bytes())
        content[len(content) // 2] ^= 1
        broken.write_bytes(content)
        (victim,) = [r for r in copy.records() if (r.arm, r.seed) == (arm, seed) and r.ends]
        (copy.results / store.path_of(victim)).unlink()
    said = copy.smol("run", "tiny_rates")
    assert "3 runs of 8" in said
    for broken in (branch, decay / "model.pt"):
        assert f"it is {broken}.damaged now" in said
        assert broken.exists()
    assert {r.key: r.ends[0].val_loss for r in copy.records() if r.ends} == ends
    assert {r.status for r in copy.records()} == {"ok"}
    assert "deleted" in copy.smol("records", "clean", "--results", str(copy.results))
    assert not [*copy.folder.rglob("*.damaged"), *copy.folder.rglob("model.pt")]


def test_an_edit_to_muon_outdates_runs_and_an_edit_to_a_comment_does_not(copy, tmp_path):
    copy.code = tmp_path / "code"
    for package in ("harness", "models", "recipes"):
        shutil.copytree(ROOT / package, copy.code / package)
    muon = copy.code / "harness" / "optim" / "optimizers" / "muon.py"
    text = muon.read_text()
    muon.write_text(text.replace("import torch\n", "# A remark.\nimport torch\n", 1))
    assert "nothing to do" in copy.smol("run", "tiny_rates")
    muon.write_text(text.replace("1.0 - momentum)", "0.9 - momentum)", 1))
    before = set(copy.results.rglob("*.json"))
    said = copy.smol("run", "tiny_rates", code=1)
    assert "8 finished runs are outdated" in said
    assert "tiny_rates/high/1/decay-tokens: code " in said
    assert "--fresh" in said
    assert "--keep" in said
    assert set(copy.results.rglob("*.json")) == before
    assert "nothing to do" in copy.smol("run", "tiny_rates", "--keep")


def test_a_second_launch_of_the_same_recipe_is_refused(copy):
    checkpoints = copy.folder / "checkpoints" / "tiny_rates" / ".lock"
    with FileLock(checkpoints):
        assert "is at work here" in copy.smol("run", "tiny_rates", "--fresh", code=2)
    with FileLock(store.lock_of(copy.results, "tiny_rates")):  # from another folder
        assert "is at work here" in copy.smol("run", "tiny_rates", "--fresh", code=2)


def test_a_lost_branch_runs_the_stem_again(copy):
    victim = next(r for r in copy.records() if (r.arm, r.seed) == ("low", 1) and r.ends)
    (copy.results / store.path_of(victim)).unlink()
    shutil.rmtree(copy.run_folder("low", 1, "stem"))
    out = copy.smol("run", "tiny_rates")
    assert "tiny_rates/low/1/stem runs again" in out
    again = next(r for r in copy.records() if r.key == victim.key)
    assert again.ends == victim.ends or (
        again.ends[0].val_loss == victim.ends[0].val_loss  # seconds may differ
    )


def test_seeds_differ_and_arms_share_a_start(finished):
    first = {(r.arm, r.seed): r.initial_loss for r in finished.records() if r.stage == "stem"}
    assert first["low", 0] == first["high", 0]  # same init and data seeds
    assert first["low", 0] != first["low", 1]


@pytest.mark.parametrize(
    ("stage", "after"),
    [("stem", 3), pytest.param("stem", 16, marks=pytest.mark.slow), ("decay-tokens", 35)],
)
def test_killed_and_resumed_equals_uninterrupted(workspace, finished, stage, after):
    process = workspace.start("run", "tiny_rates", "--jobs", "1", "--seeds", "1")
    _kill_worker(workspace, "low", stage, after)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 3, out + err
    died = [r.status for r in workspace.records() if (r.arm, r.stage) == ("low", stage)]
    assert died == ["killed"]
    workspace.smol("run", "tiny_rates", "--seeds", "1")
    resumed = workspace.weights("low", 0, "decay-tokens")
    straight = finished.weights("low", 0, "decay-tokens")
    assert resumed.keys() == straight.keys()
    for name, weight in straight.items():
        assert torch.equal(weight, resumed[name]), name


def test_a_killed_launcher_costs_nothing(workspace, finished):
    """Its child ends by itself, and the same command at once trains nothing twice."""
    process = workspace.start("run", "tiny_rates", "--jobs", "1", "--seeds", "1")
    log = _reach(workspace, "low", "stem", 9)
    process.kill()
    process.communicate(timeout=60)
    workspace.smol("run", "tiny_rates", "--seeds", "1")
    updates = [e["update"] for e in _events(log) if e["event"] == "update"]
    assert updates == list(range(1, updates[-1] + 1))
    assert [r.status for r in workspace.records() if r.status != "ok"] in ([], ["killed"])
    assert len([r for r in workspace.records() if r.status == "ok"]) == 4
    straight = finished.weights("low", 0, "decay-tokens")
    resumed = workspace.weights("low", 0, "decay-tokens")
    assert all(torch.equal(weight, resumed[name]) for name, weight in straight.items())


def _kill_worker(workspace: Workspace, arm: str, stage: str, after: int) -> None:
    """SIGKILL the process that trains a stage, once it has made `after` updates."""
    os.kill(_events(_reach(workspace, arm, stage, after))[0]["pid"], signal.SIGKILL)


def _events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def _reach(workspace: Workspace, arm: str, stage: str, after: int) -> Path:
    """Wait until a stage has made `after` updates; its log."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for log in (workspace.folder / "checkpoints").glob(f"*/{arm}/0/{stage}.*/metrics.jsonl"):
            if any(e["event"] == "update" and e["update"] >= after for e in _events(log)):
                return log
        time.sleep(0.002)
    raise AssertionError(f"{arm} {stage} never made {after} updates")


def test_ctrl_c_leaves_records_and_the_same_command_goes_on(workspace):
    process = workspace.start("run", "tiny_rates", "--set", "train.tokens=12800", "--seeds", "1")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        # Not rglob: the code's own copies come and go beside the runs.
        logs = list((workspace.folder / "checkpoints").glob("*/*/*/*/metrics.jsonl"))
        if any('"update": 9' in log.read_text() for log in logs):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert {r.status for r in workspace.records()} == {"killed"}
    workspace.smol("run", "tiny_rates", "--set", "train.tokens=12800", "--seeds", "1")
    ended = {(r.arm, r.stage): r for r in workspace.records() if r.status == "ok"}
    assert len(ended) == 4
    assert any(r.timing.resumed for r in ended.values())
