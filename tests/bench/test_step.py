"""`smol bench step`: real processes, a tiny model."""

import json
import subprocess
import sys

import pytest

from harness.bench import contest
from harness.commands import bench_step, planned
from harness.errors import RequestError, RunFailed
from tests.bench.test_peers import setting

TINY = ["--scale", "smoke", "--batch", "2", "--seq", "32", "--threads", "1", "--compile", "eager"]


def smol(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "bench", "step", *TINY, *words],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_two_contestants_in_turn():
    done = smol(
        "--against", "ours-eager", "--rounds", "2", "--losses", "6", "--dtype", "fp32", "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    ours, same = report["contestants"]
    assert (ours["name"], same["name"]) == ("ours", "ours-eager")
    # One first update, then rounds of one untimed and two timed; the untimed have losses, too.
    assert [len(timings) for timings in ours["seconds"]] == [2, 2]
    assert len(ours["losses"]) == 1 + 2 * 3
    # The same code on the same data: bit for bit.
    assert ours["losses"] == same["losses"]
    assert same["loss_distance"] == 0.0
    # A ratio is of tokens/s, and memory is each process's own.
    assert same["ratio_low"] < same["ratio"] < same["ratio_high"]
    assert 2e8 < ours["peak_bytes"] < 2e9  # torch alone takes about 0.3 GB
    assert 0.0 < ours["matmul_share"] < 1.0
    assert report["dtype"] == "fp32"
    assert report["matmul"]["shape"] == "64 x 128 x 352"
    assert "/" not in done.stdout.replace("tokens/s", "")  # no path of this machine


def test_a_contestant_that_fails_is_named_with_its_reason():
    with pytest.raises(RunFailed, match=r"^transformers: RequestError: transformers has no such"):
        contest.compete([setting("transformers", "moe-160m")], rounds=1, updates=1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--against", "transformer"], "no contestant 'transformer'; did you mean 'transformers'?"),
        (["--against", "ours"], "no contestant 'ours'"),
        (["--against", "moe-loop,moe-loop"], "names a contestant twice"),
        (["--model", "moe"], "no model 'moe'"),
        (["--compile", "hole"], "did you mean 'whole'?"),
        (["--dtype", "fp16"], "no dtype 'fp16'; did you mean 'bf16'?"),
        (["--optim", "sgd"], "no optimizer 'sgd'"),
        (["--seq", "4096"], "--seq from 2 to the model's 512"),
    ],
)
def test_a_wrong_request_is_one_line(words, said):
    done = smol(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_losses_that_part_are_a_check_that_fails():
    results = {
        name: contest.Result(name, 1, 0.0, 1, [(1.0,)], losses)
        for name, losses in {"ours": [3.0, 2.0, 1.0], "transformers": [3.0, 2.0, 1.02]}.items()
    }
    bench_step.check_losses(results, 2)
    with pytest.raises(bench_step.CheckFailed, match=r"up to 0\.0200 from transformers's"):
        bench_step.check_losses(results, 3)
    with pytest.raises(RequestError, match="no scale"):
        planned.read_scale("tiny")
