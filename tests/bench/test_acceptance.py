"""`nox -s gpu`: it can only fail loudly."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from bench.acceptance import __main__ as acceptance
from bench.acceptance import device, recipes
from bench.acceptance.verdicts import Verdicts
from harness.errors import RunFailed
from harness.recipe import find, load


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


def test_every_recipe_that_runs_on_the_device_has_its_short_run(monkeypatch, capsys):
    ran = []

    def short_run(entry, device, results):
        ran.append(entry.name)
        if entry.name == "optimizers":
            raise RunFailed("planted")

    monkeypatch.setattr(recipes, "short_run", short_run)
    ours = {n for n, e in load()[0].items() if e.build.__module__.startswith("recipes.")}
    assert recipes.main("cuda") == 1
    assert set(ran) == ours
    assert capsys.readouterr().out.endswith("failed: optimizers\n")
    ran.clear()
    assert recipes.main("cpu") == 1
    assert (
        set(ran)
        == {n for n in ours if find(n).at(recipes.smallest(find(n))).runs_on("cpu")}
        != ours
    )


def test_a_recipe_that_trains_without_its_compiler_fails(monkeypatch, tmp_path):
    """As where a card's toolchain is broken: the run ends well, in another way than was asked."""
    record = SimpleNamespace(recipe="cost", arm="dense", compilation=None)
    monkeypatch.setattr(recipes.run, "run", lambda *_, **__: None)
    monkeypatch.setattr(recipes.store, "read_all", lambda _: [record])
    recipes.short_run(find("cost"), "cpu", tmp_path)
    record.compilation = SimpleNamespace(uncompiled="nothing was compiled")
    with pytest.raises(RunFailed, match="dense trained, but not as it was to: nothing"):
        recipes.short_run(find("cost"), "cpu", tmp_path)


def test_a_device_that_multiplies_wrongly_fails(monkeypatch):
    assert device.main("cpu") == 0
    right = torch.ones
    monkeypatch.setattr(device.torch, "ones", lambda *s, **k: right(*s, **k) * 1.01)
    assert device.main("cpu") == 1


def test_what_is_not_a_number_fails():
    verdicts = Verdicts()
    verdicts.below("fine", 0.5, 1.0)
    assert verdicts.exit_code == 0
    verdicts.below("broken", float("nan"), 1.0)
    assert verdicts.exit_code == 1
