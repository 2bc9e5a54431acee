"""What else the machine was doing around a run: load, other processes, clocks and throttling.

A timing is only worth something where nothing else ran; this room measures whether that was so, and
says it in one line where it was not.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from harness.machine import devices, hardware
from harness.records.schema import GpuState, MachineState

BUSY_CORES = 0.15
"""Cores that other processes may keep busy. The launcher's own display takes some hundredths."""
WINDOW_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""How long a launch waits for others to finish before it goes on and is marked."""
_WORK = ("user", "nice", "system", "irq", "interrupt", "softirq", "dpc", "steal")
"""The kinds of a core's time that are work, by the names that systems have for them; the rest is
waiting."""


def busy_seconds() -> float | None:
    """CPU seconds that the cores of this process have worked since boot, for whomever; steal
    counts, since it is somebody else's. None where the system does not say."""
    every = psutil.cpu_times(percpu=True)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(every))
    mine = [times._asdict() for core, times in enumerate(every) if core in allowed]
    return sum(times.get(kind, 0.0) for times in mine for kind in _WORK) or None


def own_seconds() -> float:
    """CPU seconds of this process and of those that it started, ended ones included where the
    system keeps count of them; so compilers are counted."""
    this, seconds = psutil.Process(), 0.0
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


@dataclass(frozen=True)
class Meter:
    """CPU seconds at one moment, to be compared with those at another."""

    clock: float
    busy: float | None
    own: float

    @classmethod
    def read(cls, *, own: bool = True) -> Meter:
        """Now. Without `own` everything counts as others'."""
        busy = busy_seconds()
        return cls(time.monotonic(), busy, own_seconds() if own and busy is not None else 0.0)

    def others_since(self, earlier: Meter) -> float | None:
        """Cores that other processes kept busy in between, on average; None where unknown."""
        seconds = self.clock - earlier.clock
        if self.busy is None or earlier.busy is None or seconds <= 0.0:
            return None
        others = (self.busy - earlier.busy) - (self.own - earlier.own)
        return round(max(0.0, others / seconds), 4)


def state(device: str, others: float | None) -> MachineState:
    """The machine now; `others` are the cores that other processes kept busy."""
    gpu = devices.of(device).condition()
    return MachineState(
        load=hardware.load_average(),
        others=others,
        gpu=gpu if isinstance(gpu, GpuState) else None,
        gpu_note=gpu if isinstance(gpu, str) else None,
    )


def wait_for_calm(
    device: str,
    *,
    patience: float = PATIENCE_SECONDS,
    window: float = WINDOW_SECONDS,
    read: Callable[[], Meter] = lambda: Meter.read(own=False),
    sleep: Callable[[float], None] = time.sleep,
) -> MachineState:
    """The state before a launch, as soon as the machine is idle or patience has ended."""
    waited = 0.0
    while True:
        before = read()
        sleep(window)
        waited += window
        others = read().others_since(before)
        if others is None or others <= BUSY_CORES or waited >= patience:
            return state(device, others)


def contamination(
    before: MachineState, during: float | None, after: MachineState, *, resumed: int
) -> str | None:
    """Why a timing does not count, in one line; None where it does.

    `during` are the cores that other processes kept busy while it ran.
    """
    faults = []
    if resumed:
        faults.append("interrupted and resumed")
    if before.others is not None and before.others > BUSY_CORES:
        faults.append(f"other processes kept {before.others:.2f} cores busy before the start")
    if during is None:
        faults.append("how busy other processes were is not known on this system")
    elif during > BUSY_CORES:
        faults.append(f"other processes kept {during:.2f} cores busy during the run")
    for when, seen in (("before", before.gpu), ("after", after.gpu)):
        if seen is not None and seen.throttled:
            faults.append(f"the GPU throttled {when} the run ({', '.join(seen.throttled)})")
    if before.gpu is not None and before.gpu.processes:
        faults.append(f"{before.gpu.processes} other processes were on the GPU")
    return "; ".join(faults) or None
