"""What a GPU would be asked to do, counted without one: launches, and waits for the device.

On tensors that have shapes alone, on `meta` or as fakes on `cuda`, the code takes a GPU's way, and
every operator that reaches torch's dispatcher is seen here. An operator counts as one launch;
those of ours that make several say how many. Compiled, blocks launch less; what is counted is the
eager way, an upper bound.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.kernels.cross_entropy import rows_a_chunk

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "item", "is_nonzero", "unique")
"""Operators whose result the host has to wait for."""
FREE = (
    "empty", "detach", "alias", "_unsafe_view", "new_empty", "lift_fresh", "_reshape_alias",
    "promote_types", "_record_function", "device",
)  # fmt: skip
"""Operators that launch nothing, though they are no views."""
CHUNK_LAUNCHES = 5
"""Of the head, for each chunk of logits: three products, the softmax, and the sum of gradients."""
FOREACH_VALUES, FOREACH_TENSORS = 320 * 65_536, 30
"""Of torch's operators over lists: values, and at the least tensors, that one launch takes
(ATen/native/cuda/MultiTensorApply.cuh)."""
OUR_LAUNCHES = {"grouped_gemm_backward": 2, "softmax_gradient_": 1, "grouped_gemm": 1}


class LaunchCount(TorchDispatchMode):
    """Within, operators are counted, and none is changed."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()
        self.launches = 0
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Count `func`, and call it."""
        name = func._schema.name.partition("::")[2]
        if any(name.startswith(one) for one in WAITS):
            self.waits[name] += 1
        found = launches(func, name, args)
        if found:
            self.operators[name] += 1
            self.launches += found
        return func(*args, **(kwargs or {}))


def launches(func: Any, name: str, args: tuple[Any, ...]) -> int:
    """How many kernels an operator launches, at most: none where it only looks at a tensor in
    another way."""
    if func._schema.name.startswith("smol::head_cross_entropy"):
        hidden, weight = args[0], args[1]
        chunks = -(-hidden.shape[0] // rows_a_chunk(hidden, weight.shape[0]))
        return CHUNK_LAUNCHES * chunks + 2  # and the cast of the weight, and the losses' sum
    if func._schema.name.startswith("smol::"):
        return OUR_LAUNCHES.get(name, 1)
    if name.startswith("_foreach"):
        sizes = [tensor.numel() for tensor in args[0]]
        return 1 + sum(sizes) // FOREACH_VALUES + len(sizes) // FOREACH_TENSORS
    if name.startswith(FREE) or torch.Tag.inplace_view in func.tags:
        return 0
    returned = func._schema.returns
    views = bool(returned) and all(
        r.alias_info is not None and not r.alias_info.is_write for r in returned
    )
    return 0 if views else 1
