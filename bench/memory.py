"""How much memory a call takes beside what is there already."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import torch

RESET_PEAK = "5"
"""Written to /proc/self/clear_refs it sets VmHWM back to VmRSS (proc(5))."""


def extra_bytes(call: Callable[[], object], device: str) -> int | None:
    """The highest memory during one call, beyond that before it; None where nobody can say.

    On CUDA the allocator's; on Linux resident memory, after what the allocator hoards is given
    back, so that it is fetched anew and counted.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before
    if not sys.platform.startswith("linux"):
        return None
    call()  # what stays for good (gradients, libraries' buffers) is there afterwards
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/self/status has no {name}")
