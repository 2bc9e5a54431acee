"""The least time that one micro-step can take on a device: for every operation, the larger of
compute and memory time, summed.

A roofline is a bound under stated assumptions, not a prediction: nothing overlaps, every product
runs at the peak, every elementwise group is one pass over its tensors. Dense SwiGLU models only.
Pure arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.machine.hardware import Peak
from models.config import ModelConfig, total_parameters

HALF = 2
"""Bytes of a bf16 value: activations and working weights."""
FULL = 4
"""Bytes of an fp32 value: masters, gradients, optimizer state."""


@dataclass(frozen=True)
class Op:
    """A group of equal operations of one micro-step, forward and backward together."""

    name: str
    flops: float
    """The FLOPs on the matrix units; 0 for what only moves memory."""
    traffic: float
    """Bytes to and from device memory."""

    def seconds(self, peak: Peak) -> float:
        """The larger of compute and memory time."""
        return max(self.flops / peak.bf16_flops, self.traffic / peak.bandwidth)


def ops(model: ModelConfig, micro_batch: int, seq_len: int, grad_accum: int = 1) -> list[Op]:
    """The operations of one micro-step of `micro_batch` sequences of `seq_len` tokens.

    The optimizer's pass is divided by `grad_accum`: it runs once an update. Raises ValueError
    for a mixture of experts, a feed-forward that is not SwiGLU, and parts that are not ours.
    """
    own = model.feed_forward.name or model.attention.name
    if model.is_moe or model.activation != "swiglu" or own:
        raise ValueError("the roofline knows dense SwiGLU models only")
    tokens = micro_batch * seq_len
    width, layers, ffn = model.width, model.layers, model.ffn
    queries = model.heads * model.head_dim
    keys = model.kv_heads * model.head_dim
    found = []

    def product(name: str, inner: int, outer: int, count: int) -> None:
        # One linear layer (tokens, inner) x (inner, outer): 2 FLOPs a weight and token forward,
        # and twice that backward (gradient of the input, gradient of the weight).
        # Memory: three products, each reading two operands and writing one; the weight's
        # gradient is fp32. Each of the three is bounded by itself.
        flops = 2.0 * tokens * inner * outer
        reads = HALF * (tokens * inner + tokens * outer)
        found.append(Op(f"{name} forward", flops * count, (reads + HALF * inner * outer) * count))
        found.append(Op(f"{name} dgrad", flops * count, (reads + HALF * inner * outer) * count))
        found.append(Op(f"{name} wgrad", flops * count, (reads + FULL * inner * outer) * count))

    # Projections that share their input are one product each: QKV, and gate with up.
    product("qkv", width, queries + 2 * keys, layers)
    product("attention output", queries, width, layers)
    product("gate and up", width, 2 * ffn, layers)
    product("down", ffn, width, layers)

    # Causal attention, fused: forward two products of 2 · tokens · seq_len · queries FLOPs each,
    # halved by the mask; backward five (the scores are computed again), so 3.5 x forward in all
    # (FlashAttention-2, arXiv 2307.08691, section 3.1).
    # Memory: Q, K, V in and O out, and their gradients: small beside the products.
    forward = 2.0 * 2.0 * tokens * seq_len * queries / 2
    moved = HALF * tokens * (2 * queries + 2 * keys)
    found.append(Op("attention", 3.5 * forward * layers, 3.0 * moved * layers))

    # RoPE: queries and keys read and written once forward and once backward.
    found.append(Op("rope", 0.0, 4.0 * HALF * tokens * (queries + keys) * layers))

    # SwiGLU, one kernel each way: forward reads gate and up, writes their product (3);
    # backward reads its gradient, gate and up, writes two gradients (5).
    found.append(Op("swiglu", 0.0, 8.0 * HALF * tokens * ffn * layers))

    # Residual with RMSNorm, one kernel each way, two a layer and the final one: forward reads
    # the stream and the sublayer's output, writes the stream and the normalised (4); backward
    # reads two gradients and the stream, writes one gradient (4).
    found.append(Op("residual and rmsnorm", 0.0, 8.0 * HALF * tokens * width * (2 * layers + 1)))

    # The head: three products, as above, of (tokens, width) x (width, vocabulary).
    product("head", width, model.vocab_size, 1)

    # Cross-entropy on materialised bf16 logits: read once forward; backward reads and writes them
    # in place as the gradient (3). A head fused with its loss has less.
    found.append(Op("cross-entropy", 0.0, 3.0 * HALF * tokens * model.vocab_size))

    # The embedding: a row read and written forward; backward reads the gradient and adds into
    # fp32 rows (read and write).
    found.append(Op("embedding", 0.0, tokens * width * (3.0 * HALF + 2.0 * FULL)))

    # AdamW once an update: master, gradient and two moments read, master and moments written
    # (7 fp32 values), the bf16 working copy written, the gradient set to zero (1 fp32).
    # Muon's products are left out: about 1 % of an update of a dozen micro-steps of 8,192 tokens.
    adam = total_parameters(model) * (8.0 * FULL + HALF)
    found.append(Op("optimizer", 0.0, adam / grad_accum))
    return found


def micro_step_seconds(
    model: ModelConfig, peak: Peak, micro_batch: int, seq_len: int, grad_accum: int = 1
) -> float:
    """Seconds that one micro-step takes at least."""
    return sum(op.seconds(peak) for op in ops(model, micro_batch, seq_len, grad_accum))


def tokens_per_second(
    model: ModelConfig,
    peak: Peak,
    micro_batch: int,
    seq_len: int,
    *,
    efficiency: float,
    grad_accum: int = 1,
) -> float:
    """Tokens/s at a stated share of the roofline, which is `efficiency` = 1.

    Raises ValueError for an efficiency outside (0, 1].
    """
    if not 0.0 < efficiency <= 1.0:
        raise ValueError(f"efficiency must be inside (0, 1], not {efficiency}")
    seconds = micro_step_seconds(model, peak, micro_batch, seq_len, grad_accum)
    return efficiency * micro_batch * seq_len / seconds
