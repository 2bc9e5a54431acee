"""The docs' own optimizer and own feed-forward, outside the clone, from `smol run` to the card."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.code.provenance import ROOT
from tests.e2e.conftest import Workspace

SMALL = ("--seeds", "1", "--set", "train.tokens=4096", "--set", "model.layers=1")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A folder with the files that docs/parts.md shows, run once."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "recipes").mkdir()
    text = (ROOT / "docs" / "parts.md").read_text("utf-8")
    blocks = re.findall(
        r"`recipes/(lion|relu2|dense_vs_mine)\.py`.*?```python\n(.*?)```", text, re.S
    )
    assert [name for name, _ in blocks] == ["lion", "relu2", "dense_vs_mine"]
    for name, code in blocks:
        assert code.count("\n") <= 25
        (folder / "recipes" / f"{name}.py").write_text(code)
    workspace = Workspace(folder)
    workspace.smol("run", "dense_vs_mine", *SMALL)
    return workspace


def copied(mine: Workspace, folder: Path) -> Workspace:
    shutil.copytree(mine.folder, folder / "copy")
    return Workspace(folder / "copy")


def test_they_stand_in_the_card_with_parameters_and_flops(mine):
    records = mine.records()
    assert {r.status for r in records} == {"ok"}
    by_arm = {r.arm: r for r in records if r.ends}
    assert set(by_arm) == {"dense", "relu2", "lion"}
    width = by_arm["relu2"].config["model"]["width"]
    ffn = by_arm["dense"].config["model"]["ffn"]
    less = by_arm["dense"].total_parameters - by_arm["relu2"].total_parameters
    assert less == 3 * width * ffn - 2 * 4 * width * width
    flops = {arm: r.flops.per_token_causal for arm, r in by_arm.items() if r.flops}
    assert flops["dense"] - flops["relu2"] == 6 * less
    assert flops["dense"] == flops["lion"]
    assert by_arm["lion"].config["optim"]["settings"]["mix"] == 0.9
    assert by_arm["dense"].code.source_digest == by_arm["lion"].code.source_digest
    assert by_arm["lion"].code.behaviour_digest is None
    card = "\n".join(page.read_text() for page in mine.results.rglob("*.md"))
    for arm in by_arm:
        assert re.search(rf"\| {arm} +\| +{by_arm[arm].total_parameters / 1e6:.2f} \|", card)
        assert re.search(rf"\| {arm} +\| +{flops[arm] / 1e6:.2f} \|", card)


def test_trace_tells_the_text_when_the_file_is_gone(mine, tmp_path):
    here = copied(mine, tmp_path)
    (here.folder / "recipes" / "relu2.py").unlink()
    cells = (here.results / "cells.json").read_text()
    (cell,) = re.findall(r'"([^"]*\.loss/relu2/val_loss@tokens)"', cells)
    told = here.smol("trace", cell, "--results", str(here.results))
    assert "| class ReLU2(torch.nn.Module):" in told
    assert "model.feed_forward.code of relu2: sha256" in told
    run = next(r for r in here.records() if r.arm == "relu2" and r.ends)
    said = here.smol("sample", run.name, "--prompt", "The", "--max-tokens", "2")
    assert said


def test_a_checkpoint_from_elsewhere_runs_no_code_unasked(mine, tmp_path):
    (final,) = (mine.folder / "checkpoints").glob(
        "dense_vs_mine/relu2/0/decay-tokens.*/final_model.pt"
    )
    said = mine.smol("sample", str(final), "--prompt", "The", code=2)
    assert "brings code of its own (relu2.py); if you trust it, set SMOL_TRUST=" in said


def test_again_nothing_is_to_do_and_an_edit_makes_that_arm_anew(mine, tmp_path):
    here = copied(mine, tmp_path)
    assert "nothing to do" in here.smol("run", "dense_vs_mine", *SMALL)
    file = here.folder / "recipes" / "lion.py"
    file.write_text(file.read_text().replace("weight_decay=0.0)", "weight_decay=0.1)"))
    shown = here.smol("show", "dense_vs_mine", *SMALL)
    assert re.search(r"4 of these runs are finished, 0 outdated and 2 missing", shown), shown
    file.write_text(file.read_text().replace('group["mix"]', 'group["mixx"]'))
    said = here.smol("run", "dense_vs_mine", *SMALL, code=2)
    assert "arm 'lion': lion.py:16: KeyError: 'mixx'" in said
