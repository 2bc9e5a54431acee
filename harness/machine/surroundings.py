"""What else the machine was doing around a run: load, other processes, clocks and throttling.

A timing is only worth something where nothing else ran; this room measures whether that was so,
and says it in one line where it was not. May not import torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.machine import devices, hardware
from harness.records.schema import GpuState, MachineState

BUSY_CORES = 0.15
"""Cores that other processes may keep busy. The launcher's own display takes some hundredths."""
WINDOW_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""How long a launch waits for others to finish before it goes on and is marked."""
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def busy_seconds(proc: Path = Path("/proc")) -> float | None:
    """CPU seconds that the cores of this process have worked since boot, for whomever; steal
    counts, since it is somebody else's. None where the system does not say."""
    try:
        lines = (proc / "stat").read_text("ascii").splitlines()
    except OSError:
        return None
    allowed = {f"cpu{n}" for n in os.sched_getaffinity(0)}
    rows = [fields for line in lines if (fields := line.split()) and fields[0] in allowed]
    # user nice system idle iowait irq softirq steal
    ticks = sum(int(v) for row in rows for i, v in enumerate(row[1:9]) if i not in (3, 4))
    return ticks / _CLOCK_TICKS if rows and ticks else None


def own_seconds(proc: Path = Path("/proc")) -> float:
    """CPU seconds of this session's processes, the ended ones among their children included.

    The launcher gives each run a session of its own, so compilers that it starts are counted.
    """
    session, ticks = os.getsid(0), 0
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text("utf-8", errors="replace")
        except OSError:  # it has ended since
            continue
        fields = text.rpartition(")")[2].split()  # a program's name may hold spaces
        if int(fields[3]) == session:
            ticks += sum(int(value) for value in fields[11:15])  # user, system, and children's
    return ticks / _CLOCK_TICKS


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
