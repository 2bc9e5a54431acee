"""What counts as a calm machine, and what is said of one that was not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple

import pytest

from harness.code.provenance import ROOT
from harness.machine import surroundings
from harness.machine.surroundings import Busy, Meter, contamination, wait_for_calm
from harness.records.seen import GpuState, MachineState

GPU = GpuState(sm_mhz=1980, memory_mhz=2619, temperature=45, watts=310.0, throttled=(), processes=0)


def machine(others: float | None = 0.01, gpu: GpuState | None = None) -> MachineState:
    return MachineState(load=1.0, others=others, gpu=gpu, gpu_note=None)


@pytest.mark.parametrize(
    ("before", "during", "after", "resumed", "reason"),
    [
        (machine(), 0.02, machine(0.02), 0, None),
        (machine(0.9), 0.02, machine(), 0, "0.90 cores busy before the start"),
        (machine(), 0.4, machine(), 0, "0.40 cores busy during the run"),
        (machine(), 0.02, machine(), 1, "interrupted and resumed"),
        (machine(None), None, machine(None), 0, "not known on this system"),
        (machine(gpu=GPU), 0.0, machine(gpu=GPU), 0, None),
        (
            machine(gpu=GPU), 0.0,
            machine(gpu=GPU.model_copy(update={"throttled": ("hardware thermal",)})), 0,
            "the GPU throttled after the run (hardware thermal)",
        ),
        (
            machine(gpu=GPU.model_copy(update={"processes": 2})), 0.0, machine(gpu=GPU), 0,
            "2 other processes were on the GPU",
        ),
    ],
)  # fmt: skip
def test_contamination_has_its_reason(before, during, after, resumed, reason):
    found = contamination("cpu", before, Busy(during), after, resumed=resumed, cores=2)
    if reason is None:
        assert found is None
    else:
        assert reason in found


def test_a_gpu_beside_a_hundred_busy_cores_does_not_wait_and_counts():
    """A rented machine shows its host's cores, on which others work all the time."""
    slept: list[float] = []
    found = wait_for_calm("cuda", read=meters(127.0), sleep=slept.append)
    assert len(slept) == 1
    busy = found.model_copy(update={"gpu": GPU})
    assert contamination("cuda", busy, Busy(127.0, 0.01), busy, resumed=0, cores=128) is None
    starved = contamination("cuda", busy, Busy(127.0, 0.2), busy, resumed=0, cores=128)
    assert starved == "it waited for a core 20 % of its time"
    shared = busy.model_copy(update={"gpu": GPU.model_copy(update={"processes": 1})})
    assert "on the GPU" in (
        contamination("cuda", shared, Busy(0.0), busy, resumed=0, cores=8) or ""
    )


def test_a_large_cpu_may_have_a_small_share_of_its_cores_busy():
    slept: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surroundings.hardware, "cores", lambda: 128)
        found = wait_for_calm("cpu", read=meters(5.0), sleep=slept.append)
    assert (found.others, len(slept)) == (pytest.approx(5.0), 1)
    assert contamination("cpu", found, Busy(5.0), found, resumed=0, cores=128) is None
    assert contamination("cpu", found, Busy(5.0), found, resumed=0, cores=16) is not None


@pytest.mark.skipif(surroundings.waited_seconds() is None, reason="Linux keeps count of it")
def test_waiting_for_a_core_is_seen():
    """Two processes on one core: each waits about half of its time."""
    script = (
        "import os, time; from harness.machine.surroundings import Meter\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); pid = os.fork()\n"
        "before = Meter.read(); stop = time.monotonic() + 1.0\n"
        "while time.monotonic() < stop: pass\n"
        "if pid: print(Meter.read().waited_since(before)); os.wait()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    # More where the test's own machine is busy, less where the other started late.
    assert float(done.stdout) > 0.2


def meters(*others: float):
    """Readings a second apart, between which others kept so many cores busy."""
    clock, busy, readings = 0.0, 100.0, []
    for share in others:
        readings += [Meter(clock, busy, 0.0), Meter(clock + 1.0, busy + share, 0.0)]
        clock, busy = clock + 1.0, busy + share
    return iter(readings).__next__


def test_a_launch_waits_for_calm_but_not_for_ever():
    slept: list[float] = []
    found = wait_for_calm("cpu", read=meters(1.5, 0.8, 0.02), sleep=slept.append)
    assert found.others == pytest.approx(0.02)
    assert len(slept) == 3
    slept.clear()
    found = wait_for_calm("cpu", read=meters(*[1.0] * 9), sleep=slept.append, patience=4.0)
    assert found.others == pytest.approx(1.0)
    assert len(slept) == 4


def test_a_system_that_does_not_say_is_not_waited_for():
    found = wait_for_calm("cpu", read=lambda: Meter(0.0, None, 0.0), sleep=lambda s: None)
    assert found.others is None


CORE = namedtuple("CORE", "user nice system idle iowait irq softirq steal guest guest_nice")


def test_work_is_that_of_the_cores_allowed_and_waiting_is_none(monkeypatch):
    monkeypatch.setattr(surroundings.os, "sched_getaffinity", lambda pid: {1}, raising=False)
    cores = [CORE(*[5.0] * 10), CORE(1.0, 0.0, 1.0, 77.0, 88.0, 0.0, 0.0, 1.0, 0.5, 0.0)]
    monkeypatch.setattr(surroundings.psutil, "cpu_times", lambda percpu: cores)
    # user + system + steal; idle and iowait are nobody's work, and a guest's is in user's.
    assert surroundings.busy_seconds() == 3.0
    monkeypatch.setattr(surroundings.psutil, "cpu_times", lambda percpu: [])
    assert surroundings.busy_seconds() is None


SPIN = """
import subprocess, sys, time
from harness.machine.surroundings import Meter
before = Meter.read()
if len(sys.argv) == 1:
    subprocess.run([sys.executable, *sys.orig_argv[1:], "child"], check=True)
while time.process_time() < 0.6:
    pass
after = Meter.read()
print(after.own - before.own, after.others_since(before) * (after.clock - before.clock),
      after.busy - before.busy)
"""


@pytest.mark.skipif(surroundings.busy_seconds() is None, reason="the system does not say")
def test_own_work_is_not_others_work():
    """A process in a session of its own, as the launcher starts runs, and its child."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", SPIN], start_new_session=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    own, others, busy = map(float, done.stdout.splitlines()[-1].split())
    # Each works until it has used 0.6 s, most of it after the first reading; ticks are 10 ms.
    assert 0.6 < own < 1.5
    assert others == pytest.approx(max(0.0, busy - own), abs=0.01)
