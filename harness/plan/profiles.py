"""Device profiles: how an update is cut into micro-steps on a device of a given memory.

A profile trades `batch.micro_batch` against `batch.grad_accum` and never touches their product,
which is the recipe's. Profiles are classes of memory, not exact sizes, so that two cards of one
class cut an update alike. The estimate behind the choice is arithmetic that nobody measured: the
share of memory it may fill leaves room for its error. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.config import RunConfig, replace
from harness.errors import RequestError, nearest
from harness.machine.hardware import peaks
from models.config import ModelConfig, total_parameters

HALF = 2
"""Bytes of a bf16 value."""
FULL = 4
"""Bytes of an fp32 value."""
CONTEXT_BYTES = 2 * 10**9
"""CUDA context, cuBLAS workspaces, the chunk of logits with its gradient, evaluation."""
USABLE = 0.8
"""The share of a profile's memory that the estimate may fill: fragmentation and its own error."""


@dataclass(frozen=True)
class Profile:
    """A class of devices."""

    name: str
    memory_bytes: int | None
    """What the smallest device of the class has; None leaves every recipe's split as it is."""

    @property
    def budget(self) -> float | None:
        """Bytes that the estimate may come to."""
        return None if self.memory_bytes is None else USABLE * self.memory_bytes


PROFILES = {
    # The split enters the key: on CPUs, where it must not depend on the machine's memory, and on
    # cards below the smallest class, it stays the recipe's own.
    "cpu": Profile("cpu", None),
    "under-24gb": Profile("under-24gb", None),
    "24gb": Profile("24gb", 24 * 10**9),
    "80gb": Profile("80gb", 80 * 10**9),
}
SLACK = 0.07
"""Products sold as 24 GB report from 22.5 to 24 GiB: so much less still counts as the class."""


def of(device: int | str | None) -> Profile:
    """The profile of a device: bytes of its memory (None or 0: a CPU), a profile's name, or a
    name of `facts/hardware.toml`.

    Raises RequestError for another name.
    """
    if isinstance(device, str):
        if device in PROFILES:
            return PROFILES[device]
        if device not in peaks():
            raise RequestError(f"no profile '{device}'{nearest(device, [*PROFILES, *peaks()])}")
        return of(peaks()[device][1].memory_bytes)
    if not device:
        return PROFILES["cpu"]
    found = PROFILES["under-24gb"]
    for profile in PROFILES.values():
        if profile.memory_bytes and device >= (1.0 - SLACK) * profile.memory_bytes:
            found = profile  # declared from small to large
    return found


def apply(config: RunConfig, device: int | str | Profile | None) -> RunConfig:
    """The configuration with its update cut for a device (see `of`), tokens per update unchanged.

    Raises RequestError for an unknown name.
    """
    profile = device if isinstance(device, Profile) else of(device)
    return split(config, micro_batch(config, profile))


def split(config: RunConfig, micro: int) -> RunConfig:
    """The same update in micro-steps of `micro` sequences, a divisor of the update's."""
    return replace(
        config,
        {"batch.micro_batch": micro, "batch.grad_accum": config.sequences_per_update // micro},
    )


def micro_batch(config: RunConfig, profile: Profile) -> int:
    """The largest divisor of an update's sequences whose estimated memory fits the profile.

    1 where not even that fits: the run may still do, and its record tells.
    """
    budget, sequences = profile.budget, config.sequences_per_update
    if budget is None:
        return config.batch.micro_batch
    fitting = [
        micro
        for micro in range(1, sequences + 1)
        if sequences % micro == 0 and memory_bytes(config, micro) <= budget
    ]
    return max(fitting, default=1)


def common_micro_batch(configs: Sequence[RunConfig], profile: Profile) -> int:
    """The micro-batch for arms that may not differ in it: the smallest that any of them needs."""
    return min(micro_batch(config, profile) for config in configs)


def memory_bytes(config: RunConfig, micro: int) -> float:
    """Estimated peak bytes on the device with micro-steps of `micro` sequences.

    1. State: fp32 master, gradient, and two moments (AdamW; Muon holds one), and a bf16 copy.
    2. Activations that the backward pass of every layer needs, a token each; with recompute only
       the layers' inputs, and one layer in full.
    3. What does not depend on the batch: CONTEXT_BYTES.
    The head's logits are made in chunks of fixed size and are part of 3. Where blocks are compiled
    they keep less (`_kept_values`), and one block's passes work with as much as an eager one keeps.
    """
    model = config.model
    # What is not resolved yet is for a card of the table, which all multiply bf16.
    half = HALF if config.train.dtype in ("bf16", "auto") else FULL
    state = total_parameters(model) * (4 * FULL + (HALF if half == HALF else 0))
    tokens = micro * config.data.seq_len
    one_layer = tokens * _layer_values(model) * half
    if config.train.recompute:
        activations = tokens * model.layers * model.width * half + one_layer
    elif fuses(config):
        activations = model.layers * tokens * _kept_values(model) * half + one_layer
    else:
        activations = model.layers * one_layer
    # The embedding's output, the final norm, hidden states and their gradient, in fp32 at most.
    ends = tokens * model.width * 4 * FULL
    return state + activations + ends + CONTEXT_BYTES


def fuses(config: RunConfig) -> bool:
    """Whether torch's compiler decides what every block keeps: not across kernels, of which it sees
    outputs alone, nor in parts that are not ours, of which nothing is known here."""
    own = (config.model.attention.name, config.model.feed_forward.name)
    compiled = config.train.compile in ("blocks", "whole")
    return compiled and not config.train.kernels and not any(own)


def _kept_values(model: ModelConfig) -> int:
    """Values a token that one compiled block keeps for its backward pass, in bf16's size: what
    torch's partitioner chose on a GPU's way, tensor by tensor, as a test counts it anew.

    The block's input, both norms' outputs; queries and keys after RoPE, and the projection that
    they come from with the values; attention's output in both layouts; of the feed-forward what
    goes into an activation and what comes out. A mixture also keeps its input in fp32, the copies
    of its input and output, and the routing. In fp32: attention's and the norms' row statistics.
    """
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    attention = 3 * model.width + 4 * queries + 3 * keys + 2 * model.heads + 4
    if model.qk_norm:
        attention += 2 * (model.heads + model.kv_heads)
    gate_up = 2 if model.activation == "swiglu" else 1
    copies = max(model.top_k, 1)
    feed_forward = copies * (gate_up + 1) * model.ffn
    if model.is_moe:
        routing = 2 * model.experts + 2 + 14 * copies
        feed_forward += model.width + 2 * copies * model.width + routing
    return attention + feed_forward


def _layer_values(model: ModelConfig) -> int:
    """Values a token that one block keeps for its backward pass, as eager torch keeps them.

    Attention: the norm's input (fp32: 2) and output (1) widths; queries and keys before and after
    RoPE, values; the output; with QK-norm its inputs in fp32. Feed-forward: input (fp32: 2) and
    norm's output, then gate, up, silu and product (two matrices: up and silu); a mixture keeps
    `top_k` of each, with the copies of its input and output, and the router's input in fp32.
    """
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    attention = 3 * model.width + 3 * queries + 3 * keys
    if model.qk_norm:
        attention += 2 * (queries + keys)
    matrices = 4 if model.activation == "swiglu" else 2
    feed_forward = 3 * model.width + max(model.top_k, 1) * matrices * model.ffn
    if model.is_moe:
        feed_forward += 2 * (model.top_k + 1) * model.width
    return attention + feed_forward
