"""NVIDIA GPUs: asked through their driver's own tools, so that torch need not be loaded."""

from __future__ import annotations

import importlib
import re
from functools import cache

from harness.machine import hardware
from harness.machine.devices import Device
from harness.records.schema import GpuState

AMPERE = (8, 0)
"""The first compute capability that multiplies bf16."""
NO_NVML = "not available: no nvidia-ml-py"

_HARMLESS = 0x1 | 0x2 | 0x4 | 0x10 | 0x100
"""Idle, set clocks, the power cap (which a card meets in every long product), sync boost and
display clocks; what is left is heat, hardware slowdown and the power brake."""
_THROTTLES = {
    0x8: "hardware slowdown", 0x20: "software thermal", 0x40: "hardware thermal",
    0x80: "power brake",
}  # fmt: skip


class Cuda(Device):
    """The first NVIDIA GPU."""

    name = "cuda"
    rank = 1
    heading = "### Measured on GPU"
    rented = True
    deterministic = False
    own_memory = True
    campaign_scales = ("full", "proxy")
    start_seconds = 15.0

    def absence(self) -> str | None:
        """Where no driver answers."""
        return None if self.gpu() else "no NVIDIA driver answers"

    def product(self) -> str:
        """The driver's name for it; the CPU's class where no driver answers, since the record
        of a run that failed for that reason needs one."""
        found = self.gpu()
        return found[0] if found else hardware.cpu_class()

    def gpu(self) -> tuple[str, int, str] | None:
        """As nvidia-smi tells."""
        return _asked()

    def multiplies_bf16(self) -> tuple[bool | None, str]:
        """Whether it does, as all from Ampere on do."""
        capability = _capability()
        if capability is None:
            return None, "compute capability unknown"
        said = "compute capability " + ".".join(map(str, capability))
        if capability >= AMPERE:
            return True, f"{said} multiplies it"
        return False, f"{said} emulates bf16"

    def condition(self) -> GpuState | str | None:
        """Through NVML."""
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return NO_NVML
        try:
            nvml.nvmlInit()
            card = nvml.nvmlDeviceGetHandleByIndex(0)
            reasons = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)) & ~_HARMLESS
            return GpuState(
                sm_mhz=int(nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM)),
                memory_mhz=int(nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_MEM)),
                temperature=int(nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)),
                watts=nvml.nvmlDeviceGetPowerUsage(card) / 1000.0,
                throttled=tuple(name for bit, name in _THROTTLES.items() if reasons & bit),
                processes=len(nvml.nvmlDeviceGetComputeRunningProcesses(card)),
            )
        except nvml.NVMLError as error:
            return f"not available: {error}"


@cache
def _capability() -> tuple[int, int] | None:
    """Of the first NVIDIA GPU; None where the driver does not say."""
    line = hardware.first_line("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
    found = re.fullmatch(r"(\d+)\.(\d+)", line or "")
    return (int(found[1]), int(found[2])) if found else None


@cache
def _asked() -> tuple[str, int, str] | None:
    """(product, memory in bytes, driver) of the first NVIDIA GPU."""
    line = hardware.first_line(
        "nvidia-smi", "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader,nounits",
    )  # fmt: skip
    if line is None:
        return None
    name, memory, driver = (part.strip() for part in line.split(","))
    return name, int(float(memory)) * 2**20, driver


DEVICE = Cuda()
