"""A GPU's clocks during updates: looked at beside the training, kept small, and judged."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from harness.machine import cards, devices
from harness.machine.clocks import GpuWatch
from harness.machine.surroundings import Busy, contamination
from harness.records.seen import GpuState
from tests.machine.test_devices import H100
from tests.machine.test_surroundings import GPU, machine


def state(sm: int, *throttled: str, watts: float = 300.0) -> GpuState:
    return GPU.model_copy(update={"sm_mhz": sm, "throttled": throttled, "watts": watts})


def until(watch: GpuWatch, samples: int) -> None:
    end = time.monotonic() + 20
    while (found := watch.found()) is None or found.samples < samples:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_only_updates_count_and_a_throttled_second_shows():
    first = [GPU, state(1980), state(1200, "hardware thermal"), state(1980), state(1900)]
    states = itertools.chain(first, itertools.repeat(state(1980)))
    watch = GpuWatch(lambda: next(states), seconds=0.001)
    with watch:
        time.sleep(0.05)
        assert watch.found() is None  # a validation, say
        watch.updating = True
        until(watch, 8)
    found = watch.found()
    assert found.sm_mhz == (1200, 1980, 1980)
    assert found.throttled == {"hardware thermal": pytest.approx(1 / found.samples, abs=1e-4)}
    assert found.watts == 300.0
    assert not [t for t in threading.enumerate() if t.name == "clocks"]


def test_what_is_kept_does_not_grow_with_the_run():
    watch = GpuWatch(lambda: GPU)
    for number in range(50_000):
        watch._note(state(1900 + number % 7))
    assert len(watch._sm) == 7
    assert len(watch.found().model_dump_json()) < 250


@pytest.mark.parametrize("answer", [None, "not available: no nvidia-ml-py"])
def test_a_device_without_clocks_costs_no_thread(answer):
    watch = GpuWatch(lambda: answer)
    with watch:
        assert watch._thread is None
    assert watch.found() is None


def test_a_driver_that_hangs_does_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr("harness.machine.clocks.LAST_SECONDS", 0.05)
    gate, looked = threading.Event(), []

    def look():
        looked.append(1)
        if len(looked) > 1:
            gate.wait(20)
        return GPU

    started = time.monotonic()
    with GpuWatch(look, seconds=0.001) as watch:
        watch.updating = True
        while len(looked) < 2:
            time.sleep(0.001)
    assert time.monotonic() - started < 10
    gate.set()


def test_a_timed_launch_that_throttled_in_its_midst_does_not_count():
    def seen(share: float) -> str | None:
        watch = GpuWatch(lambda: GPU)
        for number in range(100):
            watch._note(state(1980, *(["power brake"] if number < 100 * share else [])))
        calm = machine(gpu=GPU)
        busy = Busy(0.0, 0.0, watch.found())
        return contamination("cuda", calm, busy, calm, resumed=0, cores=8)

    assert seen(0.03) is None
    assert seen(0.4) == "the GPU throttled for 40 % of its updates (power brake)"


def test_nvml_is_asked_for_the_card_that_torch_takes(monkeypatch):
    asked = []
    card = object()
    nvml = SimpleNamespace(
        nvmlInit=lambda: None, NVML_CLOCK_SM=1, NVML_CLOCK_MEM=2, NVML_TEMPERATURE_GPU=0,
        NVMLError=RuntimeError,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid) or card,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda c: 0x40 | 0x4,
        nvmlDeviceGetClockInfo=lambda c, kind: {1: 1755, 2: 2619}[kind],
        nvmlDeviceGetTemperature=lambda c, kind: 71,
        nvmlDeviceGetPowerUsage=lambda c: 650_000,
        nvmlDeviceGetComputeRunningProcesses=lambda c: [1],
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(cards, "usable", lambda: cards.Card(**{**vars(H100), "uuid": "ab-1"}))
    with GpuWatch(devices.of("cuda").condition, seconds=0.001) as watch:
        watch.updating = True
        until(watch, 3)
    found = watch.found()
    assert set(asked) == {"GPU-ab-1"}
    assert (found.sm_mhz, found.memory_mhz, found.watts) == ((1755, 1755, 1755), 2619, 650.0)
    assert found.throttled == {"hardware thermal": 1.0}
    assert (found.temperature, found.processes) == (71, 1)
