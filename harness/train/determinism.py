"""Deterministic algorithms, without paying for a compiler that is not used."""

from __future__ import annotations

import os

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
FIXED_WORKSPACE = ":4096:8"
"""Eight buffers of 4 MiB, of fixed size: with others cuBLAS may add in another order each time
(cuBLAS, "Results Reproducibility"). It counts if it is set before the first product."""


def ask(wanted: bool, compiles: bool, device: str = "cpu") -> None:
    """Have torch use deterministic algorithms, and refuse where there is none; or not.

    On a GPU that is also how cuBLAS and cuDNN choose, and that no Triton kernel of ours is chosen
    by its time (`models.kernels.launching`). For a run that compiles nothing by the way that leaves
    inductor unimported, which has a setting of its own: to import it takes longer than to import
    torch, and than a short run.
    """
    if wanted and device == "cuda":
        os.environ[WORKSPACE] = FIXED_WORKSPACE
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    if compiles:
        torch.use_deterministic_algorithms(wanted)
    else:
        torch.set_deterministic_debug_mode("error" if wanted else "default")
