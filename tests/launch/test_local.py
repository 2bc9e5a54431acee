"""Children that die, parents that fail, and the tail that follows them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from harness.launch import account
from harness.launch.execute import Interrupted, execute
from harness.launch.launchers import local
from harness.launch.launchers.local import Child, Local
from harness.launch.protocol import MetricsLog
from harness.launch.tail import Tail
from harness.records import store
from harness.train.progress import Progress
from tests.launch.test_timed import PLAN, job
from tests.report import factory

TOKEN = "of this launch"


def test_a_tail_follows_its_own_child_and_passes_over_everybody_else(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.append("update", update=3, loss=5.0, seconds=0.5)
    tail = Tail(path, tokens_per_update=100, token=TOKEN)
    log.append("update", update=4, loss=4.9, seconds=0.5)  # of one that was left behind
    log.append("record", attempt=1)
    tail.poll()
    assert (tail.update, tail.attempt) == (None, None)
    log.append("start", token=TOKEN)
    log.append("update", update=5, loss=4.5, seconds=0.5)
    log.append("validation", update=5, val_loss=4.7)
    log.append("record", attempt=2)
    tail.poll()
    assert (tail.update, tail.loss, tail.val_loss, tail.attempt) == (5, 4.5, 4.7, 2)
    assert tail.tokens_per_second == 200


def test_a_half_written_line_waits_for_its_rest_and_a_torn_one_for_nothing(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path, tokens_per_update=100, token=TOKEN)
    lines = json.dumps({"event": "start", "token": TOKEN}) + "\n"
    lines += json.dumps({"event": "update", "update": 7, "loss": 4.0, "seconds": 1.0}) + "\n"
    path.write_text('{"event": "upd\n' + lines[:-20])
    tail.poll()
    assert tail.update is None
    with path.open("a") as file:
        file.write(lines[-20:])
    tail.poll()
    assert tail.update == 7


def test_a_log_torn_by_a_kill_goes_on_with_a_line_of_its_own(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "upda')
    MetricsLog(path).append("resume", update=5)
    assert json.loads(path.read_text().splitlines()[-1]) == {"event": "resume", "update": 5}


class Quiet:
    """A display that keeps what it is told."""

    def __init__(self):
        self.notes = []

    def show(self, running, waiting, done):
        pass

    def note(self, text):
        self.notes.append(text)

    def finished(self, record):
        pass


def start_as(program: str, monkeypatch) -> None:
    """Children are this program instead, which gets `job.json`'s path."""
    monkeypatch.setattr(local.warm, "possible", lambda: False)
    real = subprocess.Popen

    def popen(command, **options):
        return real([sys.executable, "-c", program, command[-1]], **options)

    monkeypatch.setattr(local.subprocess, "Popen", popen)


def run(asked, tmp_path, display=None):
    return execute(
        [asked], launcher=Local(), workers=1, code=tmp_path, display=display or Quiet(),
        on_record=lambda *_: None,
    )  # fmt: skip


def test_a_child_that_dies_gets_the_next_number_whatever_was_written_meanwhile(
    tmp_path, monkeypatch
):
    asked = job(tmp_path, None)
    earlier = account.record(asked, "killed", "of one that was left behind", attempt=1)
    store.write(tmp_path / "results", earlier)
    # It announces its record, and dies before that is written.
    start_as(
        "import json, sys, os; from pathlib import Path; p = Path(sys.argv[1]);"
        "token = json.loads(p.read_text())['token'];"
        "lines = [{'event': 'start', 'token': token}, {'event': 'note', 'note': 'look here'},"
        "         {'event': 'record', 'attempt': 2}];"
        "p.with_name('metrics.jsonl').write_text('\\n'.join(map(json.dumps, lines)) + '\\n');"
        "os.kill(os.getpid(), 9)",
        monkeypatch,
    )
    display = Quiet()
    (record,) = run(asked, tmp_path, display)
    assert (record.attempt, record.status) == (2, "killed")
    assert "SIGKILL" in record.error
    assert display.notes == ["look here"]
    assert {r.attempt for r in store.read_all(tmp_path / "results")} == {1, 2}


def test_the_childs_own_record_is_found_by_what_it_announced(tmp_path, monkeypatch):
    asked = job(tmp_path, None)
    for attempt, why in ((1, "another's"), (2, "its own"), (3, "another's")):
        record = account.record(asked, "failed", why, attempt=attempt)
        store.write(tmp_path / "results", record)
    start_as(
        "import json, sys; from pathlib import Path; p = Path(sys.argv[1]);"
        "token = json.loads(p.read_text())['token'];"
        "lines = [{'event': 'start', 'token': token}, {'event': 'record', 'attempt': 2}];"
        "p.with_name('metrics.jsonl').write_text('\\n'.join(map(json.dumps, lines)) + '\\n')",
        monkeypatch,
    )
    (record,) = run(asked, tmp_path)
    assert (record.attempt, record.error) == (2, "its own")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_children_and_says_so(tmp_path, monkeypatch, capsys, number):
    start_as("import time; time.sleep(60)", monkeypatch)
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        run(job(tmp_path, None), tmp_path)
    assert time.monotonic() - began < 20
    assert capsys.readouterr().err == "stopping: saving 1 run, up to 60 s\n"
    assert [r.status for r in store.read_all(tmp_path / "results")] == ["killed"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_no_child_outlives_an_error(tmp_path, monkeypatch):
    start_as("import time; time.sleep(60)", monkeypatch)
    seen: list[Child] = []

    class Failing(Quiet):
        def show(self, running, waiting, done):
            seen.extend(running)
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        run(job(tmp_path, None), tmp_path, Failing())
    assert seen[0].process.returncode is not None


def test_a_clock_that_is_set_back_takes_no_time_from_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 2e9)
    start_as("pass", monkeypatch)
    started = Local().start(job(tmp_path, None), tmp_path)
    started.process.wait()
    monkeypatch.setattr(time, "time", lambda: 1e9)
    begun = account.Observed(progress=Progress(update=0, seconds_before=0.0))
    record = account.record(started.job, "killed", "x", attempt=1, observed=begun)
    assert 0.0 < record.timing.wall_seconds < 60.0


def test_a_run_that_another_process_finished_meanwhile_has_one_record(tmp_path, monkeypatch):
    """An orphan's, which it wrote while the child of the next launcher waited for its lock."""
    asked = job(tmp_path, None)
    orphans = factory.record(PLAN, asked.run, asked.question, attempt=1)
    store.write(tmp_path / "results", orphans)
    start_as("pass", monkeypatch)
    assert run(asked, tmp_path) == [orphans]
    assert account.made_elsewhere(asked) == orphans, "and a child that holds the lock ends"
    known = asked.model_copy(update={"attempts": 1})  # it was there, and is to be made again
    (record,) = run(known, tmp_path)
    assert (record.attempt, record.status) == (2, "failed")
    assert account.made_elsewhere(known) is None
