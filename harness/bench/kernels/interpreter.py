"""Triton's interpreter made to round as GPUs do, so that errors in bf16 mean something.

As it comes, it cuts fp32 off where it casts to bf16 (up to twice the error of rounding). Only
for tests and error tables: nothing that trains may use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle


@contextmanager
def rounding_casts() -> Iterator[None]:
    """Inside the context, fp32 -> bf16 rounds to the nearest, ties to even."""
    original = InterpreterBuilder.cast_impl

    def cast(self: Any, source: Any, kind: Any) -> Any:
        if source.dtype.scalar == tl.float32 and kind.scalar == tl.bfloat16:
            rounded = torch.from_numpy(np.array(source.data)).to(torch.bfloat16)
            # The interpreter keeps bf16 as its bits.
            return TensorHandle(rounded.view(torch.int16).numpy().view(np.uint16), tl.bfloat16)
        return original(self, source, kind)

    InterpreterBuilder.cast_impl = cast
    try:
        yield
    finally:
        InterpreterBuilder.cast_impl = original
