"""The dtype that reductions are computed in. May not know of anything else."""

from __future__ import annotations

import torch


def reduction_dtype(dtype: torch.dtype) -> torch.dtype:
    """What norms, softmax and losses are computed in: fp32, or fp64 where the compute is fp64."""
    return torch.promote_types(dtype, torch.float32)
