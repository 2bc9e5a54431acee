"""A device that works behind the host: an update's loss is read one update late, and nothing else
of a run changes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from harness import presets
from harness.bench.counted import LaunchCount
from harness.data.batches import Batch
from harness.errors import RunFailed
from harness.machine.devices.cpu import Cpu
from harness.optim.build import build
from harness.train import loop as loops
from harness.train import state
from harness.train import update as updates
from harness.train.update import Pending, UpdateResult, begin
from models.lm import LanguageModel
from models.presets import model
from tests.train import inside


def trained(folder, monkeypatch, *settings, behind, recipe="noise_floor"):
    """The records and final weights of a recipe's runs, on a device that works behind or not."""
    finals = []
    with monkeypatch.context() as patched:
        patched.setattr(Cpu, "runs_behind", behind)
        right = state.save_final

        def noted(path, key, digest, config, model, *others):
            finals.append({n: p.detach().clone() for n, p in model.named_parameters()})
            return right(path, key, digest, config, model, *others)

        patched.setattr(state, "save_final", noted)
        with inside.logged(patched) as stages:
            inside.train(folder, recipe, "train.compile=eager", *settings)
    return [stage.record for stage in stages], finals


@pytest.mark.xdist_group("e2e")
def test_a_loss_that_is_read_late_is_the_same_loss(tmp_path, monkeypatch):
    order: list[str] = []
    right, read = loops.begin, Pending.read
    monkeypatch.setattr(loops, "begin", lambda *a, **k: order.append("b") or right(*a, **k))
    monkeypatch.setattr(Pending, "read", lambda self: order.append("r") or read(self))
    short = ("train.tokens=12288", "train.eval_every=5", "train.checkpoint_every=4")
    at_once, weights = trained(tmp_path / "a", monkeypatch, *short, behind=False)
    assert not order
    late = trained(tmp_path / "b", monkeypatch, *short, behind=True)
    said = "".join(order)
    assert "bbrbr" in said  # read once the next was begun, or at once where its weights are needed
    assert "bbb" not in said
    assert said.count("b") == said.count("r")
    for one, other in zip(at_once, late[0], strict=True):
        assert one.status == other.status == "ok"
        assert [p.loss for p in one.training] == [p.loss for p in other.training]
        assert [p.grad_norm for p in one.training] == [p.grad_norm for p in other.training]
        assert [p.val_loss for p in one.validation] == [p.val_loss for p in other.validation]
        assert one.timing.updates == other.timing.updates == len(other.timing.update_seconds)
        assert all(seconds > 0 for seconds in other.timing.update_seconds)
    for one, other in zip(weights, late[1], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.xdist_group("e2e")
@pytest.mark.parametrize("behind", [False, True])
def test_what_diverges_ends_with_the_update_that_did_and_saves_nothing_of_it(
    tmp_path, monkeypatch, behind
):
    """The seventh update has no number; a checkpoint is due after each second."""
    right, count = (loops.begin, loops.update), [0]

    def broken(made):
        def call(model, *others, **named):
            count[0] += 1
            if count[0] == 7:
                with torch.no_grad():
                    model.final_norm.weight.fill_(float("nan"))
            return made(model, *others, **named)

        return call

    monkeypatch.setattr(loops, "begin", broken(right[0]))
    monkeypatch.setattr(loops, "update", broken(right[1]))
    saved = []
    keep = state.save_rolling

    def noted(path, key, origin, model, optimizers, progress):
        saved.append(all(bool(p.isfinite().all()) for p in model.parameters()))
        keep(path, key, origin, model, optimizers, progress)

    monkeypatch.setattr(state, "save_rolling", noted)
    with pytest.raises(RunFailed):
        trained(
            tmp_path, monkeypatch, "train.tokens=12288", "train.checkpoint_every=2", behind=behind
        )
    assert saved
    assert all(saved)
    files = sorted((tmp_path / "results").rglob("*.json"))
    records = [json.loads(file.read_text()) for file in files if "records" in file.parts]
    (ended,) = [one for one in records if one["status"] == "diverged"][:1]
    assert ended["updates_done"] == 6 == len(ended["timing"]["update_seconds"])
    assert "at update 6" in ended["error"]


def test_a_whole_update_at_full_size_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(updates, "_sent", lambda values, device: Pending(values, None))
    config = presets.run("full")
    with torch.device("meta"):
        built = LanguageModel(model("dense", "full"), torch.bfloat16)
        optimizers = build(config.optim.model_copy(update={"muon_ns_dtype": "bf16"}), built)
    optimizers.parts["adamw"].step = lambda: None  # fused, which `meta` does not know
    rows = np.zeros((4, 2048), dtype=np.int64)
    with LaunchCount() as counted:
        made = begin(
            built, optimizers, Batch(rows, rows), micro_batch=2, clip_norm=1.0, factor=0.5,
            device=torch.device("meta"),
        )  # fmt: skip
    assert not counted.waits
    assert counted.operators["head_cross_entropy"] == 2
    assert made.values.shape == (3,)


def test_what_was_begun_is_what_an_update_gives():
    from tests.train.test_update import CPU, batch, tiny

    optim = presets.run("smoke").optim.model_copy(update={"muon_ns_dtype": "fp32"})
    found, weights = [], []
    for how in (begin, loops.update):
        lm = tiny("dense", torch.float32)
        made = how(
            lm, build(optim, lm), batch(), micro_batch=3, clip_norm=0.1, factor=1.0, device=CPU
        )
        found.append(made if isinstance(made, UpdateResult) else made.read())
        weights.append(torch.cat([p.detach().flatten() for p in lm.parameters()]))
    assert found[0] == found[1]
    assert torch.equal(*weights)
