"""Processes that are forked where torch is imported already: each alone, and none left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.code.provenance import ROOT
from harness.launch import base, warm
from harness.launch.launchers.local import Local
from harness.launch.launchers.torchrun import Torchrun
from harness.records.schema import Launch
from harness.train import nursery
from tests.launch.test_timed import job

pytestmark = pytest.mark.skipif(not warm.possible(), reason="processes are forked on Linux alone")

PLAYED = """
import os, sys
from harness.train import nursery
nursery.AHEAD, nursery.WALKED = (), ()
def run():
    if "SIGINT" in (program := open(sys.argv[1]).read()):
        import signal
        signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
    exec(program)
    return 0
nursery.run = run
sys.exit(nursery.main())
"""
"""A nursery whose processes run the program that stands in the job's file."""


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts a process for a program; its output is in `log`."""
    real = subprocess.Popen
    monkeypatch.setattr(
        warm.subprocess, "Popen",
        lambda words, **options: real([sys.executable, "-c", PLAYED, words[-1]], **options),
    )  # fmt: skip
    made = warm.Nursery({**os.environ, "PYTHONPATH": str(ROOT)}, tmp_path / "log")

    def start(program: str) -> warm.Forked:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.job"
        file.write_text(program)
        return made.start(file, tmp_path / "log")

    start.nursery = made
    start.log = tmp_path / "log"
    yield start
    made.close()
    assert not made.lives


def said(started) -> str:
    return started.log.read_text()


def wait_for(started, words: str) -> None:
    deadline = time.monotonic() + 30
    while words not in said(started):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_each_has_its_own_end_and_its_own_state(started):
    first = started("import harness; harness.spoilt = 1; print('here'); sys.exit(5)")
    assert first.wait(30) == 5
    second = started("import harness; assert not hasattr(harness, 'spoilt'); sys.exit(6)")
    third = started("raise ValueError('what went wrong')")
    assert (second.wait(30), third.wait(30)) == (6, 1)
    assert "ValueError: what went wrong" in said(started)
    killed = started("import os; os.kill(os.getpid(), 9)")
    assert killed.wait(30) == -signal.SIGKILL


def test_a_process_leads_its_own_session_and_knows_whom_it_ends_with(started):
    program = (
        "print(os.getpid() == os.getsid(0), os.getppid() == int(os.environ['SMOL_AGENT']),"
        " sys.stdin.read() == '', flush=True)"
    )
    assert started(program).wait(30) == 0
    assert said(started) == "True True True\n"


def test_signals_reach_those_that_live_and_nobody_else(started):
    gone = started("pass")
    assert gone.wait(30) == 0
    gone.send_signal(signal.SIGKILL)  # its number may be another's by now
    polite = started("print('SIGINT', flush=True); import time; time.sleep(60)")
    wait_for(started, "SIGINT")
    assert polite.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        polite.wait(0.05)
    polite.send_signal(signal.SIGINT)
    assert polite.wait(30) == 7
    hurried = started("import time; time.sleep(60)")
    hurried.send_signal(signal.SIGINT)  # perhaps before it can take one
    assert hurried.wait(30) == -signal.SIGINT
    stubborn = started("import time; time.sleep(60)")
    stubborn.kill()
    assert stubborn.wait(30) == -signal.SIGKILL


def test_a_nursery_that_dies_takes_its_processes_along_and_says_so(started):
    child = started("print('pid', os.getpid(), flush=True); import time; time.sleep(60)")
    # As `harness.train` does first, which the program above stands in for.
    bound = started(
        "from harness.train.__main__ import end_with; import time;"
        "print('bound', end_with(int(os.environ['SMOL_AGENT'])), flush=True); time.sleep(60)"
    )
    wait_for(started, "bound True")
    wait_for(started, "pid")
    started.nursery._process.kill()
    assert child.wait(30) == bound.wait(30) == -signal.SIGKILL
    started.nursery.send(signal.SIGINT, 1)  # nobody hears it, and nothing breaks
    left = int(said(started).split("pid ")[1].split()[0])
    os.kill(left, signal.SIGKILL)  # the one that did not bind itself


def test_what_is_measured_shared_or_compiled_starts_from_nothing(tmp_path):
    plain = job(tmp_path, None)
    assert Local().may_fork(plain)
    assert not Torchrun().may_fork(plain)
    assert not Local().may_fork(job(tmp_path, Launch(campaign="now", place=0, cache="shared")))
    run = plain.run
    gpu = run.model_copy(update={"device": "cuda"})
    train = run.config.train.model_copy(update={"compile": "blocks"})
    compiled = run.model_copy(update={"config": run.config.model_copy(update={"train": train})})
    for other in (gpu, compiled):
        assert not Local().may_fork(plain.model_copy(update={"run": other}))


def test_one_nursery_for_each_code_and_number_of_threads(tmp_path, monkeypatch):
    made = []

    class Played:
        lives = True

        def __init__(self, environment, log):
            made.append((environment["PYTHONPATH"], environment["OMP_NUM_THREADS"]))

        def start(self, job, log):
            return None

        def close(self):
            made.append("closed")

    monkeypatch.setattr(warm, "Nursery", Played)
    monkeypatch.setattr(base, "ready", lambda job: job)
    launcher, plain = Local(), job(tmp_path, None)
    train = plain.run.config.train.model_copy(update={"threads": 7})
    config = plain.run.config.model_copy(update={"train": train})
    wide = plain.model_copy(update={"run": plain.run.model_copy(update={"config": config})})
    threads = str(plain.run.config.train.threads)
    for asked, code in ((plain, "a"), (plain, "a"), (wide, "a"), (plain, "b")):
        launcher.start(asked, tmp_path / code)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert made == [(a, threads), (a, "7"), (b, threads)]
    launcher.close()
    assert made[3:] == ["closed"] * 3


def test_what_is_imported_ahead_starts_no_thread_of_torchs():
    """The fork would lose it, and whoever waits for it would wait for ever."""
    program = (
        "import os, torch; from importlib import import_module\n"
        f"for name in {nursery.AHEAD!r}: import_module(name)\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "torch.ones(1000, 1000) @ torch.ones(1000, 1000)\n"
        "print(len(os.listdir('/proc/self/task')) - before, torch.cuda.is_initialized())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "3"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    born, cuda = done.stdout.split()
    assert int(born) > 0
    assert cuda == "False"
