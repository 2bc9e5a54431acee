"""Every command that README shows, run in one folder in their order, at sizes of seconds.

What would make an environment or take hours is run in the form that stands in FORMS, with
the reason. A new command runs as it stands, or gets a line there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.code.provenance import ROOT
from tests.docs.test_shown import SHOWN, blocks

SHORT = "--seeds 1 --arm dense --set train.tokens=4096"
FORMS = {
    "nox -s run -- dense_vs_moe --scale smoke": (
        f"run dense_vs_moe --scale smoke {SHORT}",
        "nox would make an environment",
    ),
    "nox -s tests": ("-h", "this is one of them"),
    "smol run dense_vs_moe --scale proxy": (
        "run dense_vs_moe --scale proxy --dry-run",
        "takes hours",
    ),
}
"""Shown -> (run instead, after `smol`; why)."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def shown() -> list[str]:
    """Each command once, in the order in which a reader comes to it."""
    texts = [shlex.join(words) for page, words in SHOWN if page == "README.md"]
    return [text for text in dict.fromkeys(texts) if not text.startswith("pip install")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A reader's folder: the committed records, and the recipe that README shows."""
    here = tmp_path_factory.mktemp("pages")
    shutil.copytree(ROOT / "results", here / "results")
    (here / "recipes").mkdir()
    ((_, recipe),) = [(page, text) for page, text in blocks("python") if page == "README.md"]
    (here / "recipes" / "warmup.py").write_text(recipe)
    return here


def test_no_form_stands_for_a_command_that_nobody_shows():
    assert set(FORMS) <= set(shown())


@pytest.mark.parametrize("text", [*shown(), "smol show muon_rates"])
def test_it_runs(folder, text):
    words = shlex.split(FORMS[text][0] if text in FORMS else text.removeprefix("smol "))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", *words], cwd=folder, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
