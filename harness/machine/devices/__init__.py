"""The kinds of device that a run can be on: one file each, found by walking this folder.

A file declares one `DEVICE`. What it says here holds before and after a run and needs no torch;
the process that trains asks `torch.get_device_module` for the rest.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import ClassVar

from harness.errors import RequestError, nearest
from harness.machine import hardware
from harness.recipe import Scale
from harness.records.schema import Hardware
from harness.records.seen import GpuState

AUTO = "auto"


class Device(ABC):
    """What the kinds of device differ in. A kind of device is one subclass in a file of its own."""

    name: ClassVar[str]
    """What `--device` takes, what a record says, and torch's name for it."""
    rank: ClassVar[int]
    """The device that `--device auto` takes is the present one of the highest rank."""
    heading: ClassVar[str]
    """The title of the device's section in the card."""
    note: ClassVar[str] = ""
    """What its numbers can and cannot say; stands under the heading."""
    rented: ClassVar[bool]
    """Whether its hours are for sale, so that dollars and wall clock are worth comparing."""
    deterministic: ClassVar[bool]
    """Whether torch's deterministic algorithms cover everything that is trained here."""
    runs_behind: ClassVar[bool]
    """Whether it works through what the host has asked for while the host goes on: then an update's
    loss is read one update late, and nothing waits in between."""
    own_memory: ClassVar[bool]
    """Whether it has an allocator of its own, whose peak a record keeps; else the process's."""
    campaign_scales: ClassVar[tuple[Scale, ...]]
    """Scales that are worth a campaign on it, the most informative first."""
    ladder: ClassVar[tuple[Scale, ...]]
    """The rungs that `--scale ladder` runs on it, the smallest first: one family of models."""
    patience_seconds: ClassVar[float]
    """How long a timed launch waits for others to finish before it goes on and is marked."""
    start_seconds: ClassVar[float]
    """Assumed of a process: imports, device, data, model, checkpoints at the end."""

    @abstractmethod
    def absence(self) -> str | None:
        """Why no run can be on it on this machine; None where one can."""

    def fault(self) -> str | None:
        """Why no run can be on it although there is a sign of it; None where one can, and where
        there is nothing."""
        return None

    @abstractmethod
    def product(self) -> str:
        """What enters a run's key as the device's class: a GPU's product, or the CPU's model and
        best instruction set."""

    @abstractmethod
    def multiplies_bf16(self) -> tuple[bool | None, str]:
        """Whether it has instructions for products in bf16 (None where only torch can tell), and
        who says so or what emulating them costs."""

    def gpu(self) -> tuple[str, int, str] | None:
        """(product, memory in bytes, driver) of a device with memory of its own."""
        return None

    def machine(self, load_before: float | None = None) -> Hardware:
        """This machine as a record keeps it."""
        product, memory, driver = self.gpu() or (None, None, None)
        return Hardware(
            device_class=self.product(),
            cpu=hardware.cpu(),
            cores=hardware.cores(),
            memory_bytes=hardware.memory_bytes(),
            gpu=product,
            gpu_memory_bytes=memory,
            driver=driver,
            load_before=load_before,
            load_after=hardware.load_average(),
        )

    def condition(self) -> GpuState | str | None:
        """Clocks, heat and other processes at this moment, or why they are not known; None for a
        device that has none of its own."""
        return None

    def busy_limit(self, cores: int) -> float | None:
        """Cores that other processes may keep busy beside a timed launch, on a machine of so many;
        None where they do not matter."""
        return None

    def at_once(self, threads: int, cores: int) -> int:
        """Runs of so many threads that may share it without slowing each other down."""
        return 1


@cache
def devices() -> Mapping[str, Device]:
    """Every kind of device by name, the highest rank first."""
    found = [
        importlib.import_module(f"{__name__}.{module.name}").DEVICE
        for module in pkgutil.iter_modules(__path__)
    ]
    return {one.name: one for one in sorted(found, key=lambda one: -one.rank)}


def of(name: str) -> Device:
    """The device of a name. Raises RequestError, with the nearest, for one that is not there."""
    known = devices()
    if name not in known:
        meant = "cuda" if name.lower() == "gpu" else name  # by letters 'cpu' is nearer
        raise RequestError(f"no device '{name}'{nearest(meant, [AUTO, *known])}")
    return known[name]


def passed_over(taken: Device) -> list[str]:
    """Why `auto` took none of those that are better and show a sign of being there."""
    better = (one for one in devices().values() if one.rank > taken.rank)
    return [why for one in better if (why := one.fault()) is not None]


def chosen(text: str) -> Device:
    """The device that `--device` asks for; `auto` is the best that is present.

    Raises RequestError for an unknown one, or one that is not present.
    """
    if text == AUTO:
        return next(one for one in devices().values() if one.absence() is None)
    device = of(text)
    if (why := device.absence()) is not None:
        raise RequestError(f"--device {text}, but {why} (`smol doctor` tells more)")
    return device
