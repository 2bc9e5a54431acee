"""What a record keeps of the machine around and during a run: load, clocks, heat, throttling."""

from __future__ import annotations

from harness.config import Frozen


class GpuState(Frozen):
    """A GPU at one moment, through NVML."""

    sm_mhz: int
    memory_mhz: int
    temperature: int
    """Degrees Celsius."""
    watts: float
    throttled: tuple[str, ...]
    """Reasons of heat, hardware slowdown or power brake; empty where it ran as it should."""
    processes: int
    """How many processes hold memory on it."""


class GpuUse(Frozen):
    """A GPU while updates went on, looked at once a second through NVML, in the process that ended
    the run."""

    samples: int
    sm_mhz: tuple[int, int, int]
    """Lowest, median and highest clock of the processors."""
    memory_mhz: int
    """Median."""
    temperature: int
    """Highest, degrees Celsius."""
    watts: float
    """Mean."""
    throttled: dict[str, float]
    """Reason, as in `GpuState` -> the share of samples with it."""
    processes: int
    """The most that held memory on it, this run's own among them."""


class MachineState(Frozen):
    """What a machine was doing before or after a run."""

    load: float | None
    """One-minute load average; before a launch it still holds the launch before."""
    others: float | None
    """Cores that other processes kept busy: in the second before a launch, and, in the state
    after it, over the whole run. None where the system does not say."""
    gpu: GpuState | None
    gpu_note: str | None
    """Why a GPU's state is not known."""
