"""The same bits on a GPU: what is asked of torch, cuBLAS and cuDNN, and that no kernel is chosen by
its time."""

from __future__ import annotations

import os

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from harness import presets
from harness.config import as_before, replace
from harness.errors import RequestError
from harness.train import determinism
from models.kernels import launching
from models.kernels.launching import label
from models.kernels.rms_norm import FORWARD
from tests.train import inside


@pytest.fixture
def restored(monkeypatch):
    cudnn, before = torch.backends.cudnn, torch.get_deterministic_debug_mode()
    kept = cudnn.benchmark, cudnn.deterministic
    monkeypatch.delenv(determinism.WORKSPACE, raising=False)
    yield
    cudnn.benchmark, cudnn.deterministic = kept
    torch.use_deterministic_algorithms(before > 0)
    os.environ.pop(determinism.WORKSPACE, None)


def test_a_gpu_is_asked_for_all_of_it_and_only_then(restored):
    determinism.ask(False, compiles=True, device="cuda")
    assert determinism.WORKSPACE not in os.environ
    assert not torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = True
    determinism.ask(True, compiles=True, device="cuda")
    from torch._inductor import config

    assert os.environ[determinism.WORKSPACE] == ":4096:8"
    assert torch.are_deterministic_algorithms_enabled()
    assert config.deterministic
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("wanted", [False, True])
def test_a_kernel_is_chosen_by_its_time_only_where_bits_may_differ(restored, monkeypatch, wanted):
    """On `rms_norm`, whose first configuration is shown not to fit where it would be too large."""
    ran = []

    class Noted:
        def __init__(self, kind):
            self.kind = kind

        def __getitem__(self, grid):
            return lambda **named: ran.append((self.kind, named.get("num_warps")))

    monkeypatch.setattr(FORWARD, "_tuned", Noted("tuned"))
    monkeypatch.setattr(FORWARD, "function", Noted("fixed"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    first = FORWARD.configs[0]
    monkeypatch.setitem(launching.UNFIT, (FORWARD.name, "sm_89"), frozenset({label(first)}))
    torch.use_deterministic_algorithms(wanted)
    with FakeTensorMode():
        x = torch.empty(4, device="cuda")
    FORWARD.launch(lambda _: (1,), x=x)
    second = next(c for c in FORWARD.configs if label(c) != label(first))
    assert ran == [("fixed", second.num_warps)] if wanted else [("tuned", None)]


def test_the_field_is_new_and_does_not_go_with_autotune():
    config = presets.run("smoke")
    asked = replace(config, {"train.deterministic": True})
    assert as_before(asked) != as_before(config)
    assert "deterministic" not in as_before(config)["train"]
    with pytest.raises(RequestError, match="autotune chooses by time"):
        replace(asked, {"train.autotune": True})


@pytest.mark.xdist_group("e2e")
def test_a_run_on_a_device_that_is_not_asks_where_the_user_does(tmp_path, monkeypatch, restored):
    from harness.machine.devices.cpu import Cpu

    asked = []
    right = determinism.ask
    monkeypatch.setattr(Cpu, "deterministic", False)
    monkeypatch.setattr(
        determinism, "ask", lambda wanted, *others: asked.append(wanted) or right(wanted, *others)
    )
    with inside.logged(monkeypatch):
        for number, value in enumerate(("true", "false")):
            settings = ("train.tokens=4096", "train.compile=eager", f"train.deterministic={value}")
            inside.train(tmp_path / str(number), "noise_floor", *settings)
    assert set(asked[: len(asked) // 2]) == {True}
    assert set(asked[len(asked) // 2 :]) == {False}
