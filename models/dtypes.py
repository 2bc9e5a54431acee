"""Dtypes by their names, and the one that reductions are computed in. Knows of nothing else."""

from __future__ import annotations

import torch

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}


def reduction_dtype(dtype: torch.dtype) -> torch.dtype:
    """What norms, softmax and losses are computed in: fp32, or fp64 where the compute is fp64."""
    return torch.promote_types(dtype, torch.float32)
