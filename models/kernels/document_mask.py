"""Attention within documents on a GPU: FlexAttention over the blocks that a mask leaves.

A dense mask takes SDPA to its slowest path, which holds all scores and repeats keys and values;
here whole blocks of keys before a document's border or after the diagonal are never looked at.
The mask is made once a micro-batch and serves every layer. `flex_attention` is compiled on its
first use, for each shape; inside a compiled block it becomes part of the block's graph.
May not know of models.

Shapes: b batch, s sequence, h query heads, k key/value heads, d head width, n blocks of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128
"""Queries and keys a block, FlexAttention's own default."""


def beginnings(documents: Tensor) -> Tensor:
    """(b, s) document numbers, equal ones side by side -> where each position's document begins,
    (b, s) int64."""
    place = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return torch.where(begins, place, 0).cummax(1).values


Borders = Tensor | BlockMask
"""What keeps documents apart: their numbers, (b, s) int64, or a mask made of them."""


def borders_of(documents: Tensor, dtype: torch.dtype) -> Borders:
    """What attention in `dtype` takes for (b, s) document numbers, equal ones side by side: made
    once a micro-batch, for all layers."""
    # FlexAttention's kernels have no fp64, and on the CPU no backward pass.
    if documents.device.type == "cuda" and dtype != torch.float64:
        return block_mask(documents)
    return documents


def block_mask(documents: Tensor) -> BlockMask:
    """Causal attention within documents, (b, s) int64 with equal ones side by side.

    From the borders alone, without a mask of (s, s): blocks of keys are needed from where the first
    query's document begins up to the queries' own block. Whole, asking nothing of any pair, are
    those before it that lie in the last query's document, where no query is past the end.
    """
    s, device = documents.shape[1], documents.device
    first = beginnings(documents)
    n = -(-s // BLOCK)
    block = torch.arange(n, device=device)
    # Documents begin later and later, so that a block's ends bound what is between.
    earliest = first[:, ::BLOCK]  # (b, n)
    latest = first[:, (block * BLOCK + BLOCK - 1).clamp(max=s - 1)]
    reaches = (block + 1) * BLOCK > earliest[..., None]  # (b, n queries, n keys)
    within = (block + 1) * BLOCK <= s
    whole = (block * BLOCK >= latest[..., None]) & (block < block[:, None]) & within[:, None]
    needed = reaches & (block <= block[:, None])
    counts, indices = _ordered(needed & ~whole)
    whole_counts, whole_indices = _ordered(whole)
    return BlockMask.from_kv_blocks(
        counts, indices, whole_counts, whole_indices, BLOCK_SIZE=BLOCK, mask_mod=visible(first),
        seq_lengths=(s, s),
    )  # fmt: skip


def visible(first: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """What FlexAttention asks of a pair in a block that is not whole; `first` is (b, s)."""

    def mask(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (first[batch, query] <= key) & (key <= query)

    return mask


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(b, n, n) bool -> how many of each row, (b, 1, n) int32, and which, those first, (b, 1, n, n)
    int32."""
    order = blocks.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[:, None], order.to(torch.int32)[:, None]


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask) -> Tensor:
    """softmax(q kᵀ / sqrt(d)) v where `mask` lets a query see a key: (b, s, h, d).

    q (b, s, h, d); k and v (b, s, k, d), h a multiple of k: keys and values are not repeated.
    """
    flex: Any = flex_attention if torch.compiler.is_compiling() else _compiled()
    y = flex(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), block_mask=mask,
        enable_gqa=q.shape[2] != k.shape[2],
    )  # fmt: skip
    return y.transpose(1, 2)


@cache
def _compiled() -> Callable[..., Any]:
    # Shapes are few (training, validation and its rest): each its own code, none dynamic. Beyond
    # torch's limit of recompilations it fails, and does not go on with all scores in memory.
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)
