"""A device is a file: what is found, chosen and refused."""

from __future__ import annotations

import sys

import pytest

from harness.errors import RequestError
from harness.machine import cards, devices
from harness.machine.devices import cuda

H100 = cards.Card(
    product="NVIDIA H100 80GB HBM3", memory_bytes=80 * 2**30, uuid="", capability=(9, 0),
    torch="2.13.0", cuda="13.0", count=1, driver="580.1", triton="",
)  # fmt: skip


def test_auto_takes_the_best_that_is_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "usable", lambda: cards.NO_DRIVER)
    assert devices.chosen("auto").name == "cpu"
    monkeypatch.setattr(cards, "usable", lambda: H100)
    found = devices.chosen("auto")
    assert (found.name, found.product()) == ("cuda", "NVIDIA H100 80GB HBM3")
    assert found.machine().gpu_memory_bytes == 80 * 2**30


def test_what_is_absent_or_unknown_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "usable", lambda: cards.NO_DRIVER)
    with pytest.raises(RequestError, match="no NVIDIA driver answers"):
        devices.chosen("cuda")
    with pytest.raises(RequestError, match="no device 'cudda'; did you mean 'cuda'"):
        devices.chosen("cudda")
    with pytest.raises(RequestError, match="no device 'gpu'; did you mean 'cuda'"):
        devices.chosen("gpu")


def test_a_cpu_holds_as_many_runs_as_its_cores_and_a_gpu_one() -> None:
    assert devices.of("cpu").at_once(threads=2, cores=8) == 4
    assert devices.of("cpu").at_once(threads=4, cores=2) == 1
    assert devices.of("cuda").at_once(threads=1, cores=8) == 1


def test_a_gpu_that_cannot_be_asked_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert devices.of("cuda").condition() == cuda.NO_NVML
    assert devices.of("cpu").condition() is None
