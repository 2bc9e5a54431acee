"""Deterministic algorithms, without paying for a compiler that is not used."""

from __future__ import annotations

import torch


def ask(wanted: bool, compiles: bool) -> None:
    """Have torch use deterministic algorithms, and refuse where there is none; or not.

    For a run that compiles nothing by the way that leaves inductor unimported, which has a setting
    of its own: to import it takes longer than to import torch, and than a short run.
    """
    if compiles:
        torch.use_deterministic_algorithms(wanted)
    else:
        torch.set_deterministic_debug_mode("error" if wanted else "default")
