"""Scripts that go wrong in every way get the right row and the right reason."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from harness.errors import RequestError
from harness.records import foreign
from harness.referee import formats
from harness.report import scripts
from tests.referee.workshop import BETTER, COMMAND, GOOD, HEAD, arm, judged, session

NUMBER = "print(f'METRIC loss={2 + random.gauss(0, 0.01):.6f} lower')\n"

FAILS = {
    "crash": (HEAD + "raise ValueError('half way')\n", "failed: exit 1: ValueError: half way"),
    "nan": (HEAD + "print('METRIC loss=nan lower')\n", "loss is not finite"),
    "silent": (HEAD, "it printed no line 'METRIC name=value'"),
    "other": (HEAD + "print('METRIC lost=1')\n", "it reported no 'loss'"),
    "twice": (
        HEAD + NUMBER + "print('METRIC loss=1.5')\n",
        "METRIC loss was printed 2 times with different values",
    ),
    "cuda": (
        HEAD + "raise RuntimeError('CUDA out of memory. Tried to allocate 20 GiB')\n",
        "out of memory: exit 1: RuntimeError: CUDA out of memory",
    ),
    "killed": (
        HEAD + "import os\nos.kill(os.getpid(), 9)\n",
        "killed: ended by SIGKILL, perhaps by the system for want of memory",
    ),
}


@pytest.mark.parametrize("name", FAILS)
def test_a_run_that_fails_is_a_row_with_its_reason(tmp_path: Path, name: str):
    source, reason = FAILS[name]
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, name, source))
    ((record, fault),) = outcome.faults[name]  # one: the rest of its runs could tell nothing
    assert fault.startswith(reason)
    assert str(tmp_path) not in record.model_dump_json()  # tracebacks name files
    assert record.seed == 0
    judgement = outcome.judgements[name]
    assert judgement.decision == "not known"
    assert reason in judgement.verdict.text
    assert outcome.exit_code() == 3
    page = scripts.write(tmp_path / "results", outcome)
    row = next(line for line in page.read_text().splitlines()
               if line.startswith(f"| {name}/0 "))  # fmt: skip
    assert reason.replace("|", "") in row


def test_one_that_hangs_is_ended_with_all_its_children(tmp_path: Path):
    mark = f"smol-sleeper-{os.getpid()}"
    source = HEAD + (
        "import subprocess, time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.Popen(['sh', '-c', 'sleep 60; : {mark}'], start_new_session=True)\n"
        "print('METRIC loss=2 step=1', flush=True)\ntime.sleep(60)\n"
    )
    began = time.monotonic()
    outcome = judged(
        tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "hang", source), budget=2.0
    )
    assert time.monotonic() - began < 30.0
    ((record, fault),) = outcome.faults["hang"]
    assert fault == "timed out: it had not ended after 2 seconds"
    assert record.reported == {"loss": 2.0}  # what it had said is kept
    assert mark not in subprocess.run(["ps", "ax"], capture_output=True, text=True).stdout


def test_one_that_eats_memory_is_ended_at_its_limit(tmp_path: Path):
    source = HEAD + "import time\nhoard = bytearray(300 * 2**20)\ntime.sleep(30)\n"
    outcome = judged(
        tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "eats", source),
        memory_limit=150 * 2**20,
    )  # fmt: skip
    ((record, fault),) = outcome.faults["eats"]
    assert fault.startswith("out of memory: it held ")
    assert record.peak_bytes is not None
    assert record.peak_bytes > 150 * 2**20


def test_children_that_outlive_it_are_ended_and_told(tmp_path: Path):
    source = BETTER + (
        "import subprocess\nsubprocess.Popen(['sleep', '61'], start_new_session=True)\n"
    )
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "forks", source))
    assert outcome.notes["forks"][-1] == "left 1 process running, ended"
    assert outcome.judgements["forks"].decision == "keep"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_a_daemon_that_sheds_its_group_and_its_environment_is_ended(tmp_path: Path):
    seconds = str(700_000 + os.getpid())  # tells it from all others
    source = BETTER + (
        "import os\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execvpe('sleep', ['sleep', '{seconds}'], {{'PATH': os.environ['PATH']}})\n"
        "    os._exit(0)\n"
    )
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "daemon", source))
    assert outcome.judgements["daemon"].decision == "keep"
    assert "running, ended" in outcome.notes["daemon"][-1]
    assert seconds not in subprocess.run(["ps", "ax"], capture_output=True, text=True).stdout


def test_an_error_of_several_lines_is_told_by_its_first(tmp_path: Path):
    source = HEAD + "raise RuntimeError('CUDA error: lost\\nCompile with TORCH_USE_CUDA_DSA')\n"
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "long", source))
    ((_, fault),) = outcome.faults["long"]
    assert fault == "failed: exit 1: RuntimeError: CUDA error: lost"


def test_points_along_the_run_are_no_result_where_others_end_with_one(tmp_path: Path):
    points = "for i in range(3):\n    print(f'METRIC loss={3 - i + random.random()} step={i}')\n"
    early = arm(tmp_path, "early", HEAD + points + "sys.exit(0)\n")
    unread = arm(tmp_path, "unread", HEAD + points + "print('METRIC loss=0,51 lower')\n")
    base = arm(tmp_path, "good", HEAD + points + "print(f'METRIC loss={random.random()} lower')\n")
    outcome = judged(tmp_path, base, early, unread)
    assert [fault for _, fault in outcome.faults["early"]] == [
        "it printed no result METRIC loss=..., only points along the run"
    ]
    assert [fault for _, fault in outcome.faults["unread"]] == ["METRIC loss=0,51 is no number"]
    alike = judged(tmp_path, early, arm(tmp_path, "too", HEAD + "random.seed(seed + 9)\n" + points),
                   way="lower", name="alike")  # fmt: skip
    assert not any(alike.faults.values())  # nobody promised one


def test_a_script_that_turns_the_metric_round_is_not_compared(tmp_path: Path):
    turned = arm(tmp_path, "turned", BETTER.replace("lower", "higher"))
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), turned)
    assert outcome.judgements["turned"].verdict.text == (
        "not comparable: it says that higher is better, and the baseline that lower is"
    )


def test_output_without_end_is_bounded_and_its_end_is_read(tmp_path: Path):
    source = BETTER.replace("print(", "w = sys.stdout.write\nfor _ in range(2000):\n"
                            "    w('x' * 2**16 + '\\n')\nprint(")  # fmt: skip
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "loud", source))
    assert outcome.judgements["loud"].decision == "keep"
    folder = tmp_path / "results" / "scripts" / "test" / "loud"
    path = next(folder.glob("[0-9a-f]*.1.json"))
    record = foreign.ScriptRecord.model_validate_json(path.read_text())
    assert record.output_bytes > 130 * 10**6
    assert path.stat().st_size < 20_000


def test_writing_outside_its_folder_is_told(tmp_path: Path):
    source = BETTER + "open('../stray.txt', 'w').write('x')\n"
    elsewhere = tmp_path / "elsewhere.bin"
    source += (
        f"held = open({str(elsewhere)!r}, 'w'); held.write('x')\nimport time; time.sleep(0.8)\n"
    )
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "strays", source))
    (note,) = outcome.notes["strays"][-1:]
    assert note == "wrote outside its folder: ../stray.txt, …/elsewhere.bin"
    assert str(tmp_path) not in note


def test_a_file_that_is_written_and_closed_at_once_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    source = BETTER + f"open({str(home / 'kept.txt')!r}, 'w').write('x')\n"
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "keeps", source))
    told = [note for note in outcome.notes["keeps"] if "since it began" in note]
    assert told == ["new outside its folder since it began, perhaps its own: ~/kept.txt"]
    assert not [note for note in outcome.notes["good"] if "since it began" in note]


def test_a_metric_after_output_without_a_line_end_is_found(tmp_path: Path):
    source = BETTER.replace("print(", "w = sys.stdout.write\nfor _ in range(2000):\n"
                            "    w('x' * 2**16)\nprint(")  # fmt: skip
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "endless", source))
    assert outcome.judgements["endless"].decision == "keep"


def test_a_script_that_ignores_the_seed_is_not_compared(tmp_path: Path):
    deaf = HEAD + "print('METRIC loss=1.25 lower')\n"
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "deaf", deaf))
    assert outcome.judgements["deaf"].verdict.text == ("not comparable: the seed changes nothing")
    assert outcome.exit_code() == 1
    other = judged(tmp_path, arm(tmp_path, "deaf", deaf), arm(tmp_path, "good", GOOD), seeds=8)
    assert other.judgements["good"].verdict.text == (
        "not comparable: the baseline: the seed changes nothing"
    )
    assert other.ran <= 6  # it stops as soon as three seeds have shown it


def test_noise_beyond_the_seed_is_shown(tmp_path: Path):
    wild = BETTER.replace("random.seed(100 + seed)", "random.seed()")
    outcome = judged(tmp_path, arm(tmp_path, "good", GOOD), arm(tmp_path, "wild", wild), again=True)
    assert any("the same seed twice differs by 0.0" in note for note in outcome.notes["wild"])
    assert not any("same seed" in note for note in outcome.notes["good"])


def test_a_frozen_file_is_the_same_in_all_arms_and_at_the_end(tmp_path: Path):
    base = arm(tmp_path, "good", GOOD, prepare="LIMIT = 1\n")
    other = arm(tmp_path, "cheat", BETTER, prepare="LIMIT = 2\n")
    with pytest.raises(RequestError, match=r"arm 'cheat' changes the frozen file 'prepare.py'"):
        session(tmp_path, base, other, frozen=("prepare.py",))
    with pytest.raises(RequestError, match=r"--frozen 'prepair.py': .*did you mean 'prepare.py'"):
        session(tmp_path, base, other, frozen=("prepair.py",))
    assert not (tmp_path / "results").exists()
    edits = BETTER + "open('prepare.py', 'w').write('LIMIT = 3')\n"
    edits = arm(tmp_path, "edits", edits, prepare="LIMIT = 1\n")
    outcome = judged(tmp_path, base, edits, frozen=("prepare.py",))
    ((_, fault),) = outcome.faults["edits"]
    assert fault == "it edited the frozen file 'prepare.py' while it ran"
    back = (
        BETTER + "for text in ('LIMIT = 3', 'LIMIT = 1\\n'): open('prepare.py', 'w').write(text)\n"
    )
    outcome = judged(tmp_path, base, arm(tmp_path, "back", back, prepare="LIMIT = 1\n"),
                     frozen=("prepare.py",))  # fmt: skip
    ((_, fault),) = outcome.faults["back"]
    assert fault == "it wrote to the frozen file 'prepare.py' while it ran"


def test_a_result_file_must_be_of_this_run(tmp_path: Path):
    """One that lay in the arm's folder is yesterday's result."""
    writes = (
        "import json\njson.dump({'loss': %s + random.gauss(0, 0.01)}, open('results.json', 'w'))\n"
    )
    base = arm(tmp_path, "good", HEAD + writes % 2)
    other = arm(tmp_path, "stale", HEAD)
    for place in (base, other):
        (Path(place) / "results.json").write_text('{"loss": 1.0}')
    outcome = judged(tmp_path, base, other, format=formats.named("json"), way="lower")
    ((_, fault),) = outcome.faults["stale"]
    assert fault == "it wrote no file 'results.json'"
    assert 1.9 < outcome.records["good"][0].reported["loss"] < 2.1
    broken = arm(tmp_path, "broken", HEAD + "open('results.json', 'w').write('{\"loss\": 1')\n")
    outcome = judged(tmp_path, base, broken, format=formats.named("json"), way="lower")
    ((_, fault),) = outcome.faults["broken"]
    assert fault.startswith("results.json: not JSON, or cut off (")


def test_the_environment_carries_the_seed_too(tmp_path: Path):
    def takes(source: str) -> str:
        return "import os\n" + source.replace("int(sys.argv[1])", "int(os.environ['SMOL_SEED'])")

    base, other = arm(tmp_path, "a", takes(GOOD)), arm(tmp_path, "b", takes(BETTER))
    outcome = judged(tmp_path, base, other, command=COMMAND[:-1])
    assert outcome.judgements["b"].decision == "keep"
    assert len({r.reported["loss"] for r in outcome.records["a"]}) == 3


def test_budgets_that_differ_are_named_and_may_be_required(tmp_path: Path):
    spends = "print(f'METRIC tokens={%d}')\n"
    base = arm(tmp_path, "good", GOOD + spends % 1000)
    more = arm(tmp_path, "more", BETTER + spends % 1100)
    outcome = judged(tmp_path, base, more, metric="loss")
    assert outcome.notes["more"] == ["budgets differ: +10.0 % tokens"]
    assert outcome.judgements["more"].decision == "keep"
    strict = judged(tmp_path, base, more, metric="loss", equal=("tokens",))
    assert strict.judgements["more"].verdict.text == (
        "not comparable: 'tokens' was to be equal, and differs by +10.0 %"
    )
    assert strict.ran == 0
    near = arm(tmp_path, "near", BETTER + spends % 1010)
    assert judged(tmp_path, base, near, metric="loss", equal=("tokens",)).notes["near"] == [
        "not interleaved: some of the pairs' runs are of different calls"
    ]
