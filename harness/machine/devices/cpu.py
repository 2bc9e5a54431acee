"""The CPU: where everything runs, and where nothing is for sale."""

from __future__ import annotations

import os

from harness.machine import hardware
from harness.machine.devices import Device
from harness.recipe import RUNGS

CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that keep the library from instructions that the processor has."""
COST = {
    "avx512f": "products in it take 2 to 3 times as long as in fp32",
    "avx2": "products in it take 30 to 55 times as long as in fp32",
}
"""What emulating bf16 was measured to cost, by instruction set."""


BUSY_SHARE = 0.075
"""Of the cores: what other processes may keep busy beside a timed launch. Of two cores it is 0.15;
the launcher's own display takes some hundredths."""


class Cpu(Device):
    """This machine's processor."""

    name = "cpu"
    rank = 0
    heading = "### Measured on CPU"
    note = (
        "These runs speak of losses, at their scope, and of the speed of this CPU. They say "
        "nothing about GPU time, cost in dollars, or Triton kernels."
    )
    rented = False
    deterministic = True
    runs_behind = False
    own_memory = False
    campaign_scales = ("proxy",)  # `smoke` shows that things work, and `full` is no job for a CPU
    ladder = RUNGS[:4]
    patience_seconds = 60.0
    start_seconds = 4.0

    def absence(self) -> str | None:
        """A CPU is always there."""
        return None

    def product(self) -> str:
        """Model and best instruction set."""
        return hardware.cpu_class()

    def multiplies_bf16(self) -> tuple[bool | None, str]:
        """As its list of instructions says, unless the library was told to leave some alone."""
        isa, known = hardware.instruction_set(), hardware.multiplies_bf16()
        if known is None or any(name in os.environ for name in CAPS):
            return None, isa
        if known:
            return True, f"{isa} multiplies it"
        cost = COST.get(isa, "which is slower than fp32")
        return False, f"{isa} has no instructions for bf16: {cost}"

    def busy_limit(self, cores: int) -> float | None:
        """A share of the cores."""
        return BUSY_SHARE * cores

    def at_once(self, threads: int, cores: int) -> int:
        """As many as its cores hold."""
        return max(1, cores // threads)


DEVICE = Cpu()
