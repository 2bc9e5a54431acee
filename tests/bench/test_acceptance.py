"""`nox -s gpu`: it can only fail loudly."""

import subprocess
import sys

import pytest
import torch

from bench.acceptance import __main__ as acceptance
from bench.acceptance.verdicts import Verdicts


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has what must be missing")
def test_without_a_card_it_is_an_error_and_nothing_else_is_tried():
    done = subprocess.run(
        [sys.executable, "-m", "bench.acceptance"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no CUDA device" in done.stderr
    assert "device: FAILED" in done.stdout
    assert "parity" not in done.stdout


def test_one_failed_check_fails_the_whole_and_the_others_still_run(monkeypatch, capfd):
    def check(name: str, code: int) -> acceptance.Check:
        return acceptance.Check(name, ["-c", f"raise SystemExit({code})"])

    every = [check("device", 0), check("one", 3), check("two", 0)]
    monkeypatch.setattr(acceptance, "checks", lambda rehearse: every)
    monkeypatch.setattr(sys, "argv", ["gpu", "--rehearse"])
    assert acceptance.main() == 1
    out, err = capfd.readouterr()
    assert "one: FAILED (exit code 3)" in out
    assert "two: passed" in out
    assert "FAILED: one" in err
    every[1] = check("one", 0)
    assert acceptance.main() == 0


def test_the_rehearsal_makes_the_same_checks():
    real, rehearsed = ([c.name for c in acceptance.checks(r)] for r in (False, True))
    assert real == rehearsed
    assert all("cpu" not in " ".join(c.command) for c in acceptance.checks(False))


def test_what_is_not_a_number_fails():
    verdicts = Verdicts()
    verdicts.below("fine", 0.5, 1.0)
    assert verdicts.exit_code == 0
    verdicts.below("broken", float("nan"), 1.0)
    assert verdicts.exit_code == 1
