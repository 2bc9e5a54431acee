# mypy: allow-incomplete-defs
"""Output head and cross-entropy, chunk by chunk of logits: the softmax in one kernel, in place.

The same method as `cross_entropy.py` (Liger Kernel, arXiv 2410.10989, section 3.2), its plain
twin. Why it could help: after the head's product, torch's own cross-entropy moves 36 bytes a
logit (cast to fp32, log-softmax, a dense gradient of the picked entries, log-softmax backward,
cast), the chunked plain path about as many; here the compute dtype's logits are read twice and
overwritten once with their gradient: 6 bytes in bf16, and no fp32 copy exists. At 8,192 tokens ×
49,152 that is 2.4 GB instead of 14.5: predicted 0.7 ms against 4.3 on an H100, beside 1.4 ms of
matrix products. Chunks hold LOGITS_BYTES of logits: each reads the whole weight and adds to its
whole gradient, so that small ones pay for few rows. At 128 MB (1,365 rows) that is 3.3 GB more,
which leaves the products bound by memory on an H100 (1.7 ms); on a 4090 it hides behind them.
May not know of models: it sees hidden states, a weight and targets.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.dtypes import reduction_dtype
from models.kernels.cross_entropy import IGNORED, rows_a_chunk
from models.kernels.launching import TritonKernel, accumulator


@triton.jit
def softmax_gradient(
    logits_ptr, targets_ptr, losses_ptr,
    VOCAB: tl.constexpr, IGNORE: tl.constexpr, GRADIENT: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One row of logits, (VOCAB,): its loss, and the gradient in the logits' place."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(targets_ptr + row)
    scored = target != IGNORE
    column = tl.arange(0, BLOCK)
    logits_ptr += row * VOCAB
    # Maximum and sum in one reading: a lane's sum is rescaled when its maximum grows (arXiv
    # 1805.02867, algorithm 3), and lanes meet only after the loop.
    # The start is finite, or a lane that sees nothing but padding would compute -inf - -inf.
    largest = tl.full((BLOCK,), -1e38, ACC)
    total = tl.zeros((BLOCK,), ACC)
    for start in tl.range(0, VOCAB, BLOCK):
        inside = start + column < VOCAB
        x = tl.load(logits_ptr + start + column, inside, other=float("-inf")).to(ACC)
        grown = tl.maximum(largest, x)
        total = total * tl.exp(largest - grown) + tl.exp(x - grown)
        largest = grown
    top = tl.max(largest, 0)
    # Kept apart from `top`: added to a large logit, its digits would be lost.
    log_total = tl.log(tl.sum(total * tl.exp(largest - top), 0))
    at_target = tl.load(logits_ptr + tl.where(scored, target, 0)).to(ACC)
    tl.store(losses_ptr + row, tl.where(scored, top - at_target + log_total, 0.0))
    if GRADIENT:
        # Every lane has read the target's logit before one overwrites it.
        tl.debug_barrier()
        for start in tl.range(0, VOCAB, BLOCK):
            inside = start + column < VOCAB
            x = tl.load(logits_ptr + start + column, inside, other=0.0).to(ACC)
            # d loss / d logits = softmax - one-hot(target), and nothing where ignored.
            grad = tl.exp(x - top - log_total) - tl.where(start + column == target, 1.0, 0.0)
            grad = tl.where(scored, grad, 0.0)
            tl.store(logits_ptr + start + column, grad.to(logits_ptr.dtype.element_ty), inside)


SOFTMAX = TritonKernel(
    softmax_gradient,
    [
        triton.Config({"BLOCK": block}, num_warps=warps, num_stages=1)
        for block, warps in [
            (1024, 4), (2048, 4), (2048, 8), (4096, 8), (4096, 16), (8192, 8), (8192, 16),
            (16384, 8), (16384, 16),
        ]
    ],
    ["VOCAB", "GRADIENT"],
    {"BLOCK": 8192},
    restores=["logits_ptr"],
)  # fmt: skip


def softmax_gradient_reference(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(losses, gradient of their sum by the logits): logits (n, vocab), targets (n,) int64.

    Losses (n,) are in at least fp32, 0 where the target is -100; the gradient in logits' dtype.
    """
    wide = logits.detach().to(reduction_dtype(logits.dtype)).requires_grad_()
    with torch.enable_grad():
        losses = torch.nn.functional.cross_entropy(
            wide, targets, reduction="none", ignore_index=IGNORED
        )
        (grad,) = torch.autograd.grad(losses.sum(), wide)
    return losses.detach(), grad.to(logits.dtype)


def softmax_gradient_(logits: Tensor, targets: Tensor) -> Tensor:
    """The rows' losses, (n,) in at least fp32; `logits` (n, vocab), contiguous, then hold the
    gradient of the losses' sum. Not differentiable itself."""
    return torch.ops.smol.softmax_gradient_(logits, targets)


def head_cross_entropy_sum_reference(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Torch's own, all logits at once: hidden (n, width), weight (vocab, width), targets (n,)."""
    logits = torch.nn.functional.linear(hidden, weight.to(hidden.dtype))
    return torch.nn.functional.cross_entropy(
        logits.to(reduction_dtype(hidden.dtype)), targets, reduction="sum", ignore_index=IGNORED
    )


def head_cross_entropy_sum(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """`cross_entropy.linear_cross_entropy_sum`, with the softmax in a kernel: a scalar, nats.

    hidden (n, width) in the compute dtype; weight (vocab, width) in the masters' dtype; targets
    (n,) int64, -100 where ignored. The sum is fp32 (fp64 where hidden is). The gradients are
    computed here, in the forward pass, where any will be asked for; the weight's is accumulated
    over chunks in its own dtype.
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        return torch.ops.smol.head_cross_entropy(hidden, weight, targets)[0]
    return head_cross_entropy(hidden, weight, targets).sum()


@torch.no_grad()
def head_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Row by row, (n,) in at least fp32, 0 where ignored; no gradient."""
    return torch.ops.smol.head_cross_entropy_rows(hidden, weight, targets)


def _launch(logits: Tensor, targets: Tensor, losses: Tensor, gradient: bool) -> None:
    rows = logits.shape[0]
    SOFTMAX.launch(
        lambda meta: (rows,),
        logits_ptr=logits, targets_ptr=targets, losses_ptr=losses, VOCAB=logits.shape[1],
        IGNORE=IGNORED, GRADIENT=gradient, ACC=accumulator(logits.dtype),
    )  # fmt: skip


@torch.library.custom_op("smol::softmax_gradient_", mutates_args=("logits",))
def _softmax_gradient_(logits: Tensor, targets: Tensor) -> Tensor:
    losses = logits.new_empty(logits.shape[0], dtype=reduction_dtype(logits.dtype))
    if losses.numel():
        _launch(logits, targets, losses, gradient=True)
    return losses


@_softmax_gradient_.register_fake
def _(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.new_empty(logits.shape[0], dtype=reduction_dtype(logits.dtype))


@torch.library.custom_op("smol::head_cross_entropy", mutates_args=())
def _head(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    cast, n = weight.to(hidden.dtype), hidden.shape[0]
    losses = hidden.new_empty(n, dtype=reduction_dtype(hidden.dtype))
    grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
    size = rows_a_chunk(hidden, weight.shape[0])
    buffer = hidden.new_empty(size, weight.shape[0])
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        logits = buffer[: rows.stop - start]
        torch.mm(hidden[rows], cast.T, out=logits)
        _launch(logits, targets[rows], losses[rows], gradient=True)
        torch.mm(logits, cast, out=grad_hidden[rows])
        grad_weight += torch.mm(logits.T, hidden[rows])
    return losses.sum(), grad_hidden, grad_weight


@_head.register_fake
def _(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    total = hidden.new_empty((), dtype=reduction_dtype(hidden.dtype))
    return total, torch.empty_like(hidden), torch.empty_like(weight)


@torch.library.custom_op("smol::head_cross_entropy_rows", mutates_args=())
def _head_rows(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    cast, n = weight.to(hidden.dtype), hidden.shape[0]
    losses = hidden.new_empty(n, dtype=reduction_dtype(hidden.dtype))
    size = rows_a_chunk(hidden, weight.shape[0])
    buffer = hidden.new_empty(size, weight.shape[0])
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        logits = buffer[: rows.stop - start]
        torch.mm(hidden[rows], cast.T, out=logits)
        _launch(logits, targets[rows], losses[rows], gradient=False)
    return losses


@_head_rows.register_fake
def _(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return hidden.new_empty(hidden.shape[0], dtype=reduction_dtype(hidden.dtype))


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1], output[2])


def _differentiate(
    ctx: Any, upstream: Tensor, _: Tensor, __: Tensor
) -> tuple[Tensor, Tensor, None]:
    grad_hidden, grad_weight = ctx.saved_tensors
    return _scaled(grad_hidden, upstream), _scaled(grad_weight, upstream), None


def _scaled(grad: Tensor, upstream: Tensor) -> Tensor:
    # In upstream's dtype: 1 / tokens rounded to bf16 would be a bias of up to 0.4 %.
    return (grad.to(upstream.dtype) * upstream).to(grad.dtype)


torch.library.register_autograd("smol::head_cross_entropy", _differentiate, setup_context=_save)
