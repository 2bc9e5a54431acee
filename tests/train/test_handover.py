"""The hand-over between stages: strict names, compiled or not, proven by the probe's loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness import presets
from harness.config import RunConfig, replace
from harness.data.batches import Validation
from harness.errors import RequestError
from harness.train import checkpoint, compiled, handover, state
from models.lm import LanguageModel
from tests.models.small import DENSE, build, config, tokens

CPU = torch.device("cpu")


def validation() -> Validation:
    rows = tokens(10, 16).numpy()
    targets = np.roll(rows, -1, axis=1)
    targets[:, -1] = -100
    return Validation(rows, targets, np.zeros_like(rows), np.ones(97, dtype=np.int64))


def run_config() -> RunConfig:
    changes = {"model": config(DENSE), "data.vocab_size": 97, "data.seq_len": 16}
    return replace(presets.run("smoke"), changes)


def saved(path: Path, model: LanguageModel) -> Path:
    state.save_final(path, "key", "code", run_config(), model, {}, validation(), CPU)
    return path


@pytest.mark.parametrize("mode", ["eager", "blocks", "whole"])
@pytest.mark.parametrize("other", ["eager", "whole"])
def test_a_compiled_model_hands_over_like_any_other(tmp_path, mode, other):
    parent, child = build(DENSE), build(DENSE, seed=1)
    # The compiled objects, names and all, without the minutes that compiling takes.
    with torch.compiler.set_stance("force_eager"):
        compiled.apply(parent, mode, CPU)
        compiled.apply(child, other, CPU)
        path = saved(tmp_path / "final_model.pt", parent)
        assert not any("_orig_mod" in name for name in checkpoint.load(path)["model"])
        progress = handover.from_final(path, child, CPU, parent=("key", "code"))
    before, after = progress.handover_loss or (0.0, 1.0)
    assert before == after
    for ours, theirs in zip(parent.parameters(), child.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_probe_with_masked_documents_is_asked_as_it_was(tmp_path):
    parent = build(DENSE)
    data = validation()
    borders = np.repeat(np.arange(4), 4)[None].repeat(10, axis=0)
    masked = Validation(data.tokens, data.targets, data.documents, data.token_bytes, borders)
    path = tmp_path / "final_model.pt"
    state.save_final(path, "key", "code", run_config(), parent, {}, masked, CPU)
    progress = handover.from_final(path, build(DENSE, seed=1), CPU, parent=None)
    before, after = progress.handover_loss or (0.0, 1.0)
    assert before == after
    assert before != checkpoint.load(saved(tmp_path / "plain.pt", parent))["probe"]["loss"]


def test_another_runs_code_s_or_architectures_weights_are_refused(tmp_path):
    path = saved(tmp_path / "final_model.pt", build(DENSE))
    for parent in (("other", "code"), ("key", "other")):
        with pytest.raises(RequestError, match="is of run key and code code, not of"):
            handover.from_final(path, build(DENSE), CPU, parent=parent)
    with pytest.raises(RequestError, match="is of another architecture"):
        handover.from_final(path, build(DENSE, layers=3), CPU, parent=None)


def test_weights_that_are_not_those_of_the_probe_are_found_out(tmp_path):
    path = saved(tmp_path / "final_model.pt", build(DENSE))
    content = checkpoint.load(path)
    content["model"] = build(DENSE, seed=2).state_dict()
    checkpoint.save(path, content)
    with pytest.raises(RequestError, match=r"the hand-over from final_model\.pt failed"):
        handover.from_final(path, build(DENSE), CPU, parent=None)
