"""The source digest changes with behaviour, and with nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.code.provenance import ROOT, source_digest


@pytest.fixture
def tree(tmp_path) -> Path:
    for package in ("harness", "models"):
        shutil.copytree(ROOT / package, tmp_path / package)
    assert source_digest(tmp_path) == source_digest()
    source_digest.cache_clear()
    return tmp_path


def edit(tree: Path, name: str, old: str, new: str) -> None:
    path = tree / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("harness/optim/optimizers/muon.py", "1.0 - momentum)", "1.0 + momentum)"),
        ("harness/optim/newton_schulz.py", "rest = a - shift", "rest = a + shift"),
        ("models/ops.py", "def rotate(", "def rotated("),
        ("harness/train/update.py", "/ targets_in_update", "/ (targets_in_update + 1)"),
        ("harness/data/batches.py", "IGNORED = -100", "IGNORED = -101"),
        ("harness/seeds.py", "[:8]", "[:7]"),
    ],
)
def test_an_edit_to_the_arithmetic_changes_it(tree, name, old, new):
    before = source_digest(tree)
    source_digest.cache_clear()
    edit(tree, name, old, new)
    assert source_digest(tree) != before


def test_comments_docstrings_layout_and_other_rooms_do_not(tree):
    before = source_digest(tree)
    source_digest.cache_clear()
    edit(tree, "harness/optim/optimizers/muon.py", '"""Muon:', '"""A remark. Muon:')
    edit(
        tree, "harness/optim/optimizers/muon.py", "import torch\n", "import torch\n\n# a comment\n"
    )
    edit(tree, "harness/report/pages.py", "CARD = ", "OTHER = 1\nCARD = ")
    (tree / "models" / "another.py").write_text("x = 1\n")
    assert source_digest(tree) == before
