"""The C allocator's settings for a training process on a CPU.

An update allocates and frees the same gigabytes of activations again and again. glibc hands blocks
of that size back to the kernel when they are freed, and every page of the next update is then a
fault: writing 113 MB into fresh memory was measured at 33 ms against 4 into memory held. Kept, the
pages stay. May not import torch.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""mallopt(3)."""
GROW_BYTES = 64 * 2**20
"""The least that the heap grows by."""


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed for the next allocation. False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # musl, for one, has other ways
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, GROW_BYTES))
    accepted = [mallopt(name, value) for name, value in settings]
    return accepted == [1, 1, 1]
