"""The CPU: where everything runs, and where nothing is for sale."""

from __future__ import annotations

from harness.machine import hardware
from harness.machine.devices import Device


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
    own_memory = False
    campaign_scales = ("proxy",)  # `smoke` shows that things work, and `full` is no job for a CPU
    start_seconds = 4.0

    def absence(self) -> str | None:
        """A CPU is always there."""
        return None

    def product(self) -> str:
        """Model and best instruction set."""
        return hardware.cpu_class()

    def at_once(self, threads: int, cores: int) -> int:
        """As many as its cores hold."""
        return max(1, cores // threads)


DEVICE = Cpu()
