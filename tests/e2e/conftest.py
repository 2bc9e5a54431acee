"""A user's folder outside the clone: a recipe of their own, a text of their own, the real door."""

from __future__ import annotations

import json
import os
import pydoc_data.topics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from harness.code.provenance import ROOT
from harness.records import store
from harness.records.schema import Record
from harness.train import checkpoint

RECIPE = '''
"""Two learning rates."""
from harness import presets
from harness.config import Source, replace
from harness.recipe import ActiveFlops, Axis, Primary, Recipe, Tokens, recipe

@recipe("tiny_rates", primary=Primary(metric="val_loss", at="tokens", pairs=(("low", "high"),)),
        seeds={"smoke": 2})
def tiny_rates(scale):
    """Two learning rates of a tiny model."""
    base = replace(presets.run(scale), {
        "data.sources": (Source(name="topics", kind="files", share=1.0, paths=("topics.jsonl",)),),
        "data.seq_len": 32, "data.vocab_size": 512, "data.val_tokens": 640,
        "model.vocab_size": 512, "model.width": 32, "model.layers": 2, "model.ffn": 64,
        "model.heads": 2, "model.kv_heads": 1, "model.head_dim": 16,
        "batch.micro_batch": 4, "train.tokens": 128 * 40, "train.eval_every": 10,
        "train.checkpoint_every": 7,
    })
    return Recipe(base, axes=[Axis("rate", ["optim.muon_lr"], {"low": 0.01, "high": 0.03})],
                  horizons=[Tokens(base.train.tokens)])
'''


@dataclass
class Workspace:
    """A folder in which `smol` is used."""

    folder: Path
    code: Path = ROOT
    """The folder that holds the packages to run."""
    columns: int = 1000
    """Wide: sentences are looked for as they are, not as a narrow screen breaks them."""

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `smol` there."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "harness", *arguments],
            cwd=self.folder, text=True,
            env={
                **os.environ, "PYTHONPATH": str(self.code), "COLUMNS": str(self.columns),
            },
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def smol(self, *arguments: str, code: int = 0) -> str:
        """Run `smol` there to its end; stdout, or stderr where an exit code is expected."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        if code:
            # No traceback, no box: one clear line.
            assert err.count("\n") == 1, err
            assert err.startswith("smol: "), err
        return out if not code else out + err

    @property
    def results(self) -> Path:
        return self.folder / "results" / "smoke"

    def records(self) -> list[Record]:
        return store.read_all(self.results)

    def run_folder(self, arm: str, seed: int, stage: str) -> Path:
        base = self.folder / "checkpoints" / "tiny_rates" / arm / str(seed)
        (folder,) = base.glob(f"{stage}.*")
        return folder

    def weights(self, arm: str, seed: int, stage: str) -> dict[str, torch.Tensor]:
        return checkpoint.load(self.run_folder(arm, seed, stage) / "final_model.pt")["model"]


def make(folder: Path) -> Workspace:
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes" / "tiny.py").write_text(RECIPE)
    topics = pydoc_data.topics.topics
    rows = (json.dumps({"text": text}) for text in topics.values())
    (folder / "topics.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return Workspace(folder)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh one."""
    return make(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One in which the recipe has run; tests that change it work on a copy."""
    done = make(tmp_path_factory.mktemp("finished"))
    done.smol("run", "tiny_rates")
    return done
