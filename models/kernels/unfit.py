"""Configurations that a build ahead of time has shown not to fit a card: they are never tuned.

Evidence, not opinion: `nox -s kernels` builds every configuration and fails where this table
says otherwise than the builds. May hold nothing but the table.
"""

from __future__ import annotations

UNFIT: dict[tuple[str, str], frozenset[str]] = {
    # Spills 8 bytes where ADD is off; 56 where it is on.
    ("rms_norm_backward", "sm_89"): frozenset(
        {"ROWS=2 warps=4 stages=1", "ROWS=16 warps=8 stages=1"}
    ),
    # Wants 147,456 bytes of shared memory, of which this card's blocks have 101,376.
    ("grouped_product", "sm_89"): frozenset({"BM=128 BN=256 BK=64 warps=8 stages=4"}),
    ("grouped_weight_gradient", "sm_89"): frozenset({"BM=128 BN=256 BK=64 warps=8 stages=4"}),
}
"""(kernel, architecture) -> labels of configurations that spill or want more shared memory."""
