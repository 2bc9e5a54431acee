"""Configurations that a build ahead of time has shown not to fit a card: they are never tuned.

Evidence, not opinion: `nox -s kernels` builds every configuration of every launch that the models
at `full` make, and fails where this table says otherwise than the builds. What does not fit one
launch of a kernel is left out for all of them. May hold nothing but the table.
"""

from __future__ import annotations

_LARGEST = "BM=128 BN=256 BK=64 warps=8 stages="
_FOUR_STAGES = frozenset({f"{_LARGEST}4"})
"""Wants 147,456 bytes of shared memory, of which these cards' blocks have 101,376."""
_BOTH = _FOUR_STAGES | {f"{_LARGEST}3"}
"""With three stages it spills 24 to 200 bytes in one or more of the models' products."""
_NORM_ROWS = frozenset({"ROWS=16 warps=8 stages=1"})
"""Spills 8 bytes (sm_80), 56 elsewhere, where the residual is added."""
_NORM = _NORM_ROWS | {"ROWS=2 warps=4 stages=1"}
"""Spills 8 bytes where nothing is added."""

UNFIT: dict[tuple[str, str], frozenset[str]] = {
    ("rms_norm_backward", "sm_80"): _NORM_ROWS,
    ("rms_norm_backward", "sm_86"): _NORM,
    ("rms_norm_backward", "sm_89"): _NORM,
    ("rms_norm_backward", "sm_120"): _NORM_ROWS,
    ("grouped_product", "sm_80"): _BOTH,  # with four stages it spills 36 bytes there
    ("grouped_product", "sm_86"): _BOTH,
    ("grouped_product", "sm_89"): _BOTH,
    ("grouped_product", "sm_90"): frozenset({f"{_LARGEST}3"}),
    ("grouped_product", "sm_120"): _BOTH,
    ("grouped_weight_gradient", "sm_86"): _FOUR_STAGES,
    ("grouped_weight_gradient", "sm_89"): _FOUR_STAGES,
    ("grouped_weight_gradient", "sm_120"): _FOUR_STAGES,
}
"""(kernel, architecture) -> labels of configurations that spill or want more shared memory."""
