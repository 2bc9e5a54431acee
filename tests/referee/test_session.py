"""A whole comparison: the door, records that are there, questions asked twice, and kills."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.code.provenance import ROOT
from harness.commands import records_check
from harness.commands.referee import Options, referee
from harness.errors import CheckFailed, RequestError
from harness.records import foreign
from harness.records.seen import GpuState, MachineState
from harness.referee import carrying, tracing
from harness.report import scripts
from tests.referee.workshop import BETTER, GOOD, HEAD, arm, judged, session

TRAIN = (Path(__file__).parent / "train.py").read_text()
PYTHON = f"{sys.executable} -S"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "harness", "referee", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def smol(folder: Path, *arguments: str, code: int) -> tuple[str, str]:
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return out, err


def door(given: list[str], **options: object) -> None:
    """The command, called in this process with the door's defaults."""
    fields = dict(arms=given, device="cpu", command=f"{PYTHON} train.py --seed {{seed}}")
    referee(Options(**{**fields, **options}))  # type: ignore[arg-type]


def test_two_copies_that_differ_in_one_constant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    arm(tmp_path, "a", TRAIN)
    arm(tmp_path, "b", TRAIN.replace("RATE = 0.05", "RATE = 0.01"))
    out, err = smol(tmp_path, "a", "b", "--command", f"{PYTHON} train.py --seed {{seed}}", code=1)
    assert err == "smol: no candidate is better than the baseline, as far as these pairs tell\n"
    assert "b: discard; worse: val_loss +" in out
    folder = tmp_path / "results" / "scripts" / "a"
    card = (folder / "REFEREE.md").read_text()
    assert "| worse" in card
    assert "<polyline" in (folder / "curves.svg").read_text()
    whole = "".join(path.read_text() for path in folder.rglob("*.json"))
    assert str(tmp_path) not in whole + card
    assert os.uname().nodename not in whole

    with pytest.raises(CheckFailed):
        door(["a", "b"], as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["decision"] == "discard"
    assert answer["runs"] == {"started": 0, "reused": 12}
    assert answer["candidates"][0]["verdict"] == "worse"
    assert answer["exit"] == 1

    door(["b", "a"], name="a", as_json=True)
    better = json.loads(capsys.readouterr().out)
    assert better["decision"] == "keep"
    assert better["runs"]["started"] == 0  # the same files and seeds: the runs are there

    arm(tmp_path, "b", TRAIN.replace("RATE = 0.05", "RATE = 0.02"))
    door(["a", "b"], dry_run=True)
    out = capsys.readouterr().out
    assert "outdated: b: 6 runs are of other files and do not count here" in out
    assert "train.py)" in out
    assert "a: 6 runs, about " in out
    shutil.rmtree(tmp_path / "b")
    door([], trace="a/b/3")
    out = capsys.readouterr().out
    assert "-RATE = 0.05\n+RATE = 0.01\n" in out
    assert "again    SMOL_SEED=3 python" in out
    assert answer["candidates"][0]["digest"] in out


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (["a"], {}, "name a CANDIDATE"),
        ([], {}, "smol referee BASELINE CANDIDATE"),
        (["a", "nowhere"], {}, "no folder 'nowhere' for an arm"),
        (["a", "b"], {"budget": "soon"}, "--budget takes a time such as"),
        (["a", "b"], {"command": "no-such-program x"}, "no program 'no-such-program'"),
        (["a", "b"], {"memory": "much"}, "--memory takes a size"),
        (["a", "b"], {"share": ["data"]}, "--share 'data'"),
        (["a", "b"], {"device": "tpu"}, "tpu"),
    ],
)
def test_wrong_requests_are_one_line_and_change_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    options: dict[str, object],
    says: str,
):
    monkeypatch.chdir(tmp_path)
    arm(tmp_path, "a", GOOD)
    arm(tmp_path, "b", BETTER)
    with pytest.raises(RequestError) as error:
        door(arguments, **options)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "results").exists()


def test_what_is_not_said_is_not_guessed(tmp_path: Path):
    silent = GOOD.replace(" lower", "")
    base, other = arm(tmp_path, "a", silent), arm(tmp_path, "b", BETTER.replace(" lower", ""))
    with pytest.raises(RequestError, match="lower or a higher 'loss' better"):
        judged(tmp_path, base, other)
    outcome = judged(tmp_path, base, other, way="higher")
    assert outcome.judgements["b"].decision == "discard"
    assert outcome.ran == 5  # of six: the first had been run and was not lost
    many = arm(tmp_path, "many", silent + "print('METRIC score=1')\n")
    with pytest.raises(RequestError, match=r"which metric.*loss, score"):
        judged(tmp_path, many, other, way="lower")
    # The one that says which way it is better is the result.
    both = arm(tmp_path, "both", GOOD + "print('METRIC examples=2400')\n")
    assert judged(tmp_path, both, other).metric == "loss"


def test_a_second_look_at_the_same_seeds_is_no_answer(tmp_path: Path):
    base, other = arm(tmp_path, "a", GOOD), arm(tmp_path, "b", BETTER)
    assert judged(tmp_path, base, other).judgements["b"].decision == "keep"
    again = judged(tmp_path, base, other, seeds=5)
    assert again.judgements["b"].verdict.text.startswith(
        "not comparable: exploratory: the seeds 0 to 2 were judged before"
    )
    assert again.next_seed == 5
    fresh = judged(tmp_path, base, other, seeds=5, first_seed=again.next_seed)
    assert fresh.judgements["b"].decision == "keep"
    assert judged(tmp_path, base, other).judgements["b"].decision == "keep"  # the first stands


def test_a_noise_floor_says_what_can_be_seen_before_it_spends(tmp_path: Path):
    base, other = arm(tmp_path, "a", GOOD), arm(tmp_path, "b", BETTER)
    before = session(tmp_path, base, other)
    assert "is not known before the baseline has run" in before.seen()
    alone = judged(tmp_path, base, noise_floor=6)
    assert alone.ran == 6
    assert alone.foresight is not None
    assert 0.01 < alone.foresight.detectable < 0.2
    after = session(tmp_path, base, other)
    assert "3 pairs find a true difference of 0.0" in after.seen()
    assert "from 6 runs of the baseline" in after.seen()
    assert len(after.missing()) == 6


def test_order_is_interleaved(tmp_path: Path):
    made = session(
        tmp_path, arm(tmp_path, "a", GOOD), arm(tmp_path, "b", BETTER), arm(tmp_path, "c", HEAD),
        again=True,
    )  # fmt: skip
    words = [slot.words for slot in made.slots]
    assert words[:6] == [
        "a seed 0", "b seed 0", "c seed 0", "c seed 0 again", "b seed 0 again", "a seed 0 again",
    ]  # fmt: skip
    assert words[6:] == [
        "c seed 1", "b seed 1", "a seed 1", "a seed 2", "b seed 2", "c seed 2",
    ]  # fmt: skip


def test_a_failed_run_is_run_again_only_where_that_is_asked_or_a_limit_is_raised(tmp_path: Path):
    flag = tmp_path / "mended"
    source = BETTER + f"import os\nif not os.path.exists({str(flag)!r}): raise OSError('disk')\n"
    base, other = arm(tmp_path, "a", GOOD), arm(tmp_path, "b", source)
    assert judged(tmp_path, base, other).exit_code() == 3
    flag.touch()
    assert judged(tmp_path, base, other).exit_code() == 3
    outcome = judged(tmp_path, base, other, retry=True)
    assert outcome.judgements["b"].decision == "keep"
    assert {r.attempt for r in outcome.records["b"]} == {1, 2}
    slow = arm(tmp_path, "slow", HEAD + "import time\ntime.sleep(1.2)\n" + BETTER)
    assert judged(tmp_path, base, slow, budget=0.5).exit_code() == 3
    assert judged(tmp_path, base, slow, budget=9.0).judgements["slow"].decision == "keep"


def test_records_are_immutable_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    outcome = judged(tmp_path, arm(tmp_path, "a", GOOD), arm(tmp_path, "b", BETTER))
    results = tmp_path / "results"
    record = outcome.records["b"][0]
    with pytest.raises(RequestError, match="never overwritten"):
        foreign.write_record(results, record)
    path = results / foreign.record_path(record)
    moved = path.with_name(f"{'0' * 16}.1.json")
    path.rename(moved)
    with pytest.raises(RequestError, match="says of itself that it is"):
        foreign.read_name(results, "test")
    moved.rename(path)
    records_check.records_check(records_check.Options(results))
    assert "and 6 runs of scripts in" in capsys.readouterr().out
    source = results / foreign.source_path(
        next(s for s in foreign.read_name(results, "test")[1] if s.arm == "b")
    )
    for victim, word, other, says in (
        (path, '"status": "ok"', '"status": "oom"', "status is oom, and its reason None"),
        (path, '"exit_code": 0', '"exit_code": 1', "status is ok, and exit_code 1"),
        (source, "{1.5 +", "{1.4 +", "the text of 'train.py' is not the one that was run"),
    ):
        text = victim.read_text()
        assert word in text
        victim.write_text(text.replace(word, other))
        with pytest.raises(RequestError, match=says):
            records_check.records_check(records_check.Options(results))
        victim.write_text(text)
    path.with_name("notes.txt").write_text("x")
    with pytest.raises(RequestError, match=r"notes.txt is neither"):
        foreign.read_name(results, "test")


def test_the_text_outlives_the_files_and_the_copies(tmp_path: Path):
    judged(tmp_path, arm(tmp_path, "a", GOOD), arm(tmp_path, "b", BETTER))
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "b")
    shutil.rmtree(tmp_path / "work")
    text = tracing.trace(tmp_path / "results", "b/1")
    assert "+print(f'METRIC loss={1.5" in text
    assert "-print(f'METRIC loss={2 " in text
    with pytest.raises(RequestError, match="no run 'b/7' in 'test'"):
        tracing.trace(tmp_path / "results", "b/7")


def test_killed_at_any_moment_it_goes_on_and_repeats_nothing(tmp_path: Path):
    """SIGKILL, so that the referee can clean up nothing; the script tells its own starts."""
    log = tmp_path / "starts.txt"
    tells = (
        f"import time\nopen({str(log)!r}, 'a').write(sys.argv[0] and str(seed) + TAG + '\\n')\n"
        "time.sleep(0.25)\n"
    )
    for name, source in (("a", GOOD), ("b", BETTER)):
        arm(tmp_path, name, source.replace("print", tells.replace("TAG", f"'{name}'") + "print"))
    call = ["a", "b", "--seeds", "4", "--no-again", "--name", "k",
            "--command", f"{PYTHON} train.py {{seed}}"]  # fmt: skip
    rng = random.Random(5)
    results = tmp_path / "results"
    finished: set[str] = set()
    for _ in range(3):
        process = start(tmp_path, *call)
        if process.stdout is not None:
            process.stdout.readline()  # it has begun
        time.sleep(rng.uniform(0.2, 0.9))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        before = log.read_text().split() if log.exists() else []
        now = {f"{r.seed}{r.arm}" for r in foreign.read_name(results, "k")[0]}
        assert finished <= now
        finished = now
        begun = len(before)
        for one in now:
            assert before.count(one) >= 1
    out, _ = smol(tmp_path, *call, code=0)
    assert "b: keep" in out
    after = log.read_text().split()
    assert not finished & set(after[begun:])  # nothing finished was started again
    records, _ = foreign.read_name(results, "k")
    assert len(records) == 8
    assert {r.attempt for r in records} == {1}
    assert not list((tmp_path / "checkpoints" / ".referee" / "runs" / "k").iterdir())


def test_no_process_is_left_by_a_referee_that_is_stopped_or_by_the_next_one(tmp_path: Path):
    mark = f"smol-left-{os.getpid()}"
    arm(tmp_path, "a", HEAD + f"import os\nos.system('sleep 60; : {mark}')\n")
    arm(tmp_path, "b", BETTER)
    call = ["a", "b", "--command", f"{PYTHON} train.py {{seed}}"]
    killed = start(tmp_path, *call)
    _until(lambda: mark in _processes())
    killed.kill()  # it can clean up nothing
    killed.communicate(timeout=30)
    assert mark in _processes()
    stopped = start(tmp_path, *call)
    assert stopped.stdout is not None
    assert "not known before the baseline" in stopped.stdout.readline()
    assert "processes that an earlier call had left running" in stopped.stdout.readline()
    _until(lambda: mark in _processes())
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=30)
    assert stopped.returncode == 130
    assert mark not in _processes()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _processes() -> str:
    return subprocess.run(["ps", "ax"], capture_output=True, text=True, check=True).stdout


def test_two_referees_at_one_comparison(tmp_path: Path):
    from filelock import FileLock

    made = session(tmp_path, arm(tmp_path, "a", GOOD), arm(tmp_path, "b", BETTER))
    (tmp_path / "work" / "locks").mkdir(parents=True)
    with (
        FileLock(tmp_path / "work" / "locks" / "test.lock"),
        pytest.raises(RequestError, match="another referee is at work on 'test'"),
    ):
        made.spend()


def test_a_gpu_is_never_shared_unsaid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gpu = GpuState(sm_mhz=1, memory_mhz=1, temperature=30, watts=1.0, throttled=(), processes=2)
    busy = MachineState(load=None, others=None, gpu=gpu, gpu_note=None)
    monkeypatch.setattr(carrying.surroundings, "state", lambda device, others: busy)
    monkeypatch.setattr(carrying, "GPU_PATIENCE", 0.0)
    monkeypatch.setattr(carrying, "GPU_LOCK", tmp_path / "gpu.lock")
    outcome = judged(tmp_path, arm(tmp_path, "a", GOOD), arm(tmp_path, "b", BETTER), device="cuda")
    ((_, fault),) = outcome.faults["a"]
    assert fault == "the GPU was shared with 2 other processes"


def test_an_arm_may_hold_what_the_referee_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """As in an agent's loop, which calls it from the working folder."""
    place = arm(tmp_path, "loop", BETTER)
    arm(tmp_path, "old", GOOD)
    monkeypatch.chdir(place)
    command = f"{PYTHON} train.py {{seed}}"
    for started in (8, 0):
        door(["../old", "."], seeds=3, command=command, as_json=True)
        answer = json.loads(capsys.readouterr().out)
        assert answer["runs"]["started"] == started
        assert not [note for note in answer["candidates"][0]["notes"] if "changed in" in note]


def test_a_page_of_failures_alone_can_be_drawn(tmp_path: Path):
    outcome = judged(tmp_path, arm(tmp_path, "a", HEAD), arm(tmp_path, "b", BETTER))
    assert outcome.ran == 1
    text = scripts.write(tmp_path / "results", outcome).read_text()
    assert "not comparable: the baseline: seed 0: it printed no line" in text
    assert outcome.exit_code() == 3


def test_the_trace_of_a_run_that_equal_arms_share(tmp_path: Path) -> None:
    judged(tmp_path, arm(tmp_path, "a", GOOD), arm(tmp_path, "b", GOOD), arm(tmp_path, "c", BETTER))
    told = [tracing.trace(tmp_path / "results", f"{one}/{s}") for one in "ab" for s in (0, 1)]
    assert sum("scripts/test/a/" in text for text in told) == 2  # each seed ran once, for both
    assert sum("whose files are the very same" in text for text in told) == 2
    assert "run as" not in tracing.trace(tmp_path / "results", "c/1")
