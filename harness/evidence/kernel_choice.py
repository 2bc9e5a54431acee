"""`train.kernels=auto`: which Triton kernels to use. Pure.

A kernel is on where an update was measured to be faster with it on this device, end to end: the
whole interval of its ratio to torch's own lies above 1. A tie leaves it off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from harness.evidence.breakeven import Choice
from models.kernels.names import KERNELS


class KernelRatio(NamedTuple):
    """A kernel's steady rate over that of torch's own, with its 95 % interval."""

    value: float
    low: float
    high: float


Ratios = Callable[[], tuple[Mapping[str, KernelRatio], str]]
"""Kernel -> ratio on the device at hand, and the view they are from; asked only where wanted."""


def unmeasured() -> tuple[Mapping[str, KernelRatio], str]:
    """Nothing was timed."""
    return {}, ""


def choose(measured: Mapping[str, KernelRatio], origin: str = "") -> Choice[tuple[str, ...]]:
    """The kernels of `KERNELS` that pay; none where nothing was measured."""
    known = [name for name in KERNELS if name in measured]
    if not known:
        return Choice((), "not measured on this device")
    said = ", ".join(
        f"{name} {measured[name].value:.3f} [{measured[name].low:.3f}, {measured[name].high:.3f}]"
        for name in known
    )
    chosen = tuple(name for name in known if measured[name].low > 1.0)
    return Choice(chosen, f"times torch's rate: {said} (measured: {origin})")
