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
from pathlib import Path

import psutil

from harness.machine import devices, hardware
from harness.records.seen import GpuState, GpuUse, MachineState

SCHEDULER = Path("/proc/self/schedstat")
WINDOW_SECONDS = 1.0
WAITING_SHARE = 0.05
"""Of a launch's time: what its main thread may have waited for a core. That is what a busy host
costs a run on a GPU, whose processor only starts kernels."""
THROTTLED_SHARE = 0.05
"""Of a launch's updates: for how many of them heat or a brake may have slowed the card."""
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


def waited_seconds() -> float | None:
    """Seconds that this process's main thread has waited for a core, as Linux keeps count of them
    (the second number of /proc/PID/schedstat, in ns); None elsewhere."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(SCHEDULER.read_text("utf-8").split()[1]) / 1e9
    return None


@dataclass(frozen=True)
class Meter:
    """CPU seconds at one moment, to be compared with those at another."""

    clock: float
    busy: float | None
    own: float
    waited: float | None = None
    """Seconds that this process's main thread could have run but had no core."""

    @classmethod
    def read(cls, *, own: bool = True) -> Meter:
        """Now. Without `own` everything counts as others'."""
        busy = busy_seconds()
        mine = own_seconds() if own and busy is not None else 0.0
        return cls(time.monotonic(), busy, mine, waited_seconds())

    def waited_since(self, earlier: Meter) -> float | None:
        """The share of the time in between that the main thread waited for a core."""
        seconds = self.clock - earlier.clock
        if self.waited is None or earlier.waited is None or seconds <= 0.0:
            return None
        return round((self.waited - earlier.waited) / seconds, 4)

    def others_since(self, earlier: Meter) -> float | None:
        """Cores that other processes kept busy in between, on average; None where unknown."""
        seconds = self.clock - earlier.clock
        if self.busy is None or earlier.busy is None or seconds <= 0.0:
            return None
        others = (self.busy - earlier.busy) - (self.own - earlier.own)
        return round(max(0.0, others / seconds), 4)


@dataclass(frozen=True)
class Busy:
    """What else there was while a launch ran."""

    others: float | None
    """Cores that other processes kept busy, on average; None where the system does not say."""
    waited: float | None = None
    """The share of its time that its main thread waited for a core; None where unknown."""
    gpu: GpuUse | None = None
    """What its GPU did during updates."""


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
    patience: float | None = None,
    window: float = WINDOW_SECONDS,
    read: Callable[[], Meter] = lambda: Meter.read(own=False),
    sleep: Callable[[float], None] = time.sleep,
) -> MachineState:
    """The state before a launch, as soon as the machine is idle or patience has ended."""
    on, waited = devices.of(device), 0.0
    limit = on.busy_limit(hardware.cores())
    patience = on.patience_seconds if patience is None else patience
    while True:
        before = read()
        sleep(window)
        waited += window
        others = read().others_since(before)
        if others is None or limit is None or others <= limit or waited >= patience:
            return state(device, others)


def contamination(
    device: str,
    before: MachineState,
    during: Busy,
    after: MachineState,
    *,
    resumed: int,
    cores: int,
) -> str | None:
    """Why a timing does not count, in one line; None where it does.

    On a CPU of `cores` others may keep a small share of them busy. On a device of its own it is
    the device's state that counts, and whether the run had to wait for a core.
    """
    faults = []
    if resumed:
        faults.append("interrupted and resumed")
    limit = devices.of(device).busy_limit(cores)
    if limit is None:
        if during.waited is not None and during.waited > WAITING_SHARE:
            faults.append(f"it waited for a core {100 * during.waited:.0f} % of its time")
    else:
        if before.others is not None and before.others > limit:
            faults.append(f"other processes kept {before.others:.2f} cores busy before the start")
        if during.others is None:
            faults.append("how busy other processes were is not known on this system")
        elif during.others > limit:
            faults.append(f"other processes kept {during.others:.2f} cores busy during the run")
    for when, seen in (("before", before.gpu), ("after", after.gpu)):
        if seen is not None and seen.throttled:
            faults.append(f"the GPU throttled {when} the run ({', '.join(seen.throttled)})")
    if during.gpu is not None:
        faults += [
            f"the GPU throttled for {100 * share:.0f} % of its updates ({name})"
            for name, share in during.gpu.throttled.items()
            if share > THROTTLED_SHARE
        ]
    if before.gpu is not None and before.gpu.processes:
        faults.append(f"{before.gpu.processes} other processes were on the GPU")
    return "; ".join(faults) or None
