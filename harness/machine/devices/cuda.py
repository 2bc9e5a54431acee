"""NVIDIA GPUs: what torch says of them in a child, and NVML of their clocks and processes."""

from __future__ import annotations

import importlib
from typing import Any

from harness.machine import cards, hardware
from harness.machine.devices import Device
from harness.recipe import RUNGS
from harness.records.seen import GpuState

AMPERE = (8, 0)
"""The first compute capability that multiplies bf16."""
NO_NVML = "not available: no nvidia-ml-py"
HANGS = "not available: nvidia-smi does not answer"

_HARMLESS = 0x1 | 0x2 | 0x4 | 0x10 | 0x100
"""Idle, set clocks, the power cap (which a card meets in every long product), sync boost and
display clocks; what is left is heat, hardware slowdown and the power brake."""
_THROTTLES = {
    0x8: "hardware slowdown", 0x20: "software thermal", 0x40: "hardware thermal",
    0x80: "power brake",
}  # fmt: skip


class Cuda(Device):
    """The first NVIDIA GPU that torch sees."""

    name = "cuda"
    rank = 1
    heading = "### Measured on GPU"
    rented = True
    deterministic = False
    runs_behind = True
    own_memory = True
    campaign_scales = ("full", "proxy")
    ladder = RUNGS[4:]
    # A rented machine's other cores are others', and busy: the card's own state decides.
    patience_seconds = 5.0
    start_seconds = 15.0

    def absence(self) -> str | None:
        """Why torch can use none, with the mend."""
        found = cards.usable()
        return found if isinstance(found, str) else None

    def fault(self) -> str | None:
        """The same, where there is a driver, or its tool."""
        why = self.absence()
        return None if why == cards.NO_DRIVER else why

    def product(self) -> str:
        """The driver's name for it; the CPU's class where there is none, since the record of a
        run that failed for that reason needs one."""
        found = self.gpu()
        return found[0] if found else hardware.cpu_class()

    def gpu(self) -> tuple[str, int, str] | None:
        """The card that torch takes, or its slice."""
        found = cards.usable()
        return None if isinstance(found, str) else (found.product, found.memory_bytes, found.driver)

    def multiplies_bf16(self) -> tuple[bool | None, str]:
        """Whether it does, as all from Ampere on do."""
        found = cards.usable()
        if isinstance(found, str):
            return None, "compute capability unknown"
        said = "compute capability " + ".".join(map(str, found.capability))
        if found.capability >= AMPERE:
            return True, f"{said} multiplies it"
        return False, f"{said} emulates bf16"

    def condition(self) -> GpuState | str | None:
        """Through NVML, unless the driver's own tool, which asks it as well, hangs."""
        found = cards.usable()
        if not isinstance(found, str) and found.hangs:
            return HANGS
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return NO_NVML
        try:
            nvml.nvmlInit()
            card = _handle(nvml)
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


def _handle(nvml: Any) -> Any:
    """NVML's card that is torch's first, whatever CUDA_VISIBLE_DEVICES makes the first."""
    found = cards.usable()
    uuid = "" if isinstance(found, str) else found.uuid
    if not uuid:
        return nvml.nvmlDeviceGetHandleByIndex(0)
    if uuid.startswith(("GPU-", "MIG-")):
        return nvml.nvmlDeviceGetHandleByUUID(uuid)
    # Of a slice torch gives the same bare number, and only the product tells that it is one.
    kind = "MIG" if not isinstance(found, str) and "MIG" in found.product.split() else "GPU"
    return nvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}")


DEVICE = Cuda()
