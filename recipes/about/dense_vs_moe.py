"""The models that recipes name, and what training the dense one would cost on rented cards."""

from __future__ import annotations

from harness.report.inputs import Inputs
from harness.report.table import Table
from harness.report.views.architecture import architecture
from harness.report.views.rented import cost


def about(inputs: Inputs) -> list[str | Table]:
    """The recipe's page below its results."""
    return [
        "## The models\n\n"
        "Next-token cross-entropy; mixtures of experts add a load-balancing and a router z loss, "
        "per sequence. Decoder-only transformers: grouped-query attention, RMSNorm, rotary "
        "positions, tied embeddings, and a SwiGLU feed-forward or a mixture of experts.",
        architecture("smol show dense_vs_moe --scale full"),
        "## What the real size would cost",
        cost(inputs.records, inputs.prices),
    ]
