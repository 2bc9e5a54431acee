"""The child's side of the protocol: its number, its reasons, its end with the launcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from harness.code.provenance import ROOT
from harness.launch import account
from harness.records import store
from harness.train import worker
from harness.train.progress import Progress
from harness.train.worker import Worker, peak_memory
from tests.launch.test_timed import job


@pytest.fixture
def child(tmp_path) -> Worker:
    asked = job(tmp_path, None)
    asked.files.folder.mkdir(parents=True)
    return Worker(asked)


def records(child: Worker):
    return store.read_all(child.job.files.folder.parent / "results")


def test_its_record_takes_the_next_number_at_the_moment_of_writing(child):
    """As one of a launcher that was killed may have written a record after this job began."""
    orphans = account.record(child.job, "killed", "interrupted", attempt=1)
    store.write(child.files.folder.parent / "results", orphans)
    written = child._record("failed", "why")
    assert [r.attempt for r in records(child)] == [1, 2]
    assert written == records(child)[1]
    announced = json.loads(child.files.metrics.read_text().splitlines()[-1])
    assert announced == {"event": "record", "attempt": 2}


@pytest.mark.parametrize(
    ("status", "error", "ended", "begins"),
    [
        ("ok", None, "failed", "trained to its end; but its record was refused: "),
        ("failed", "no driver", "failed", "no driver; but its record was refused: "),
        ("diverged", "loss inf", "diverged", "loss inf; but its record was refused: "),
    ],
)
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"eval_seconds": -3.0}, "eval_seconds is -3"), ({"initial_loss": float("nan")}, "finite")],
)
def test_a_record_that_is_refused_leaves_one_that_says_why(
    child, status, error, ended, begins, wrong, reason
):
    child.progress = Progress(update=child.run.last_update, seconds_before=0.0, **wrong)
    written = child._record(status, error)
    assert written.status == ended
    assert written.error.startswith(begins)
    assert reason in written.error
    assert records(child) == [written]


def test_a_finished_run_is_trained_again_when_asked_or_when_its_branch_was_lost(child):
    half = Progress(update=child.run.last_update - 1, seconds_before=0.0)
    done = Progress(update=child.run.last_update, seconds_before=0.0, finished=True)
    assert child._usable(half, child.files)
    assert child._usable(done, child.files)
    child.job = child.job.model_copy(update={"fresh": True})
    assert child._usable(half, child.files)
    assert not child._usable(done, child.files)
    child.job = child.job.model_copy(update={"fresh": False})
    child.run = child.run.model_copy(update={"branch_at": (half.update,)})
    assert not child._usable(half, child.files)
    child.files.branch(half.update, child.job.code.source_digest).touch()
    assert child._usable(half, child.files)
    assert child._usable(done, child.files)


def test_memory_that_was_never_taken_is_not_known(monkeypatch):
    monkeypatch.setattr(worker.torch.cuda, "max_memory_allocated", lambda: 0)
    assert peak_memory("cuda", 0) is None
    assert peak_memory("cuda", 7).peak_bytes == 7  # of the process that trained
    assert peak_memory("cpu", 0).peak_bytes > 0


def test_a_child_of_a_launcher_that_is_gone_ends_before_it_imports_anything(child):
    asked = child.job.model_copy(update={"launcher": 2**22 + 1})
    child.files.job.write_text(asked.model_dump_json())
    before = child.files.metrics.read_text()
    done = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "harness.train", str(child.files.job)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "process 4194305, is gone" in done.stderr
    assert "torch" not in done.stderr
    assert child.files.metrics.read_text() == before


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_child_ends_when_its_launcher_is_killed():
    program = (
        "import os, time; from harness.train.__main__ import end_with\n"
        "launcher = os.getpid()\n"
        "if not os.fork(): assert end_with(launcher); print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert launcher.stdout.readline() == "ready\n"
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate(timeout=10)  # until the child, which holds the pipe, is gone too
