"""What a contestant of `smol bench step` is told, and what it answers: one JSON object a line.

May not import torch.
"""

from __future__ import annotations

from typing import Literal

from harness.config import Compile, Frozen, OptimConfig
from models.config import ModelConfig

OURS = ("ours-eager", "ours-blocks", "ours-whole", "torch-muon")
"""Variants of our own update: the other ways to compile it, and torch's Muon in it."""
PEERS = ("transformers", "transformers-compiled", "moe-loop")
"""Others' ways to do the same update."""
CONTESTANTS = ("ours", *OURS, *PEERS)


class Setting(Frozen):
    """The same for all contestants of a comparison, but for `contestant`."""

    contestant: str
    """One of CONTESTANTS, or `matmul`: the product that a peak is taken from."""
    model: ModelConfig
    batch: int
    """Sequences in the update, one micro-step."""
    seq: int
    """Tokens in a sequence."""
    compile: Compile
    """How `ours` is compiled."""
    dtype: Literal["bf16", "fp32"]
    """The precision of the forward and backward pass; masters and optimizer state are fp32."""
    optim: OptimConfig
    device: str
    threads: int
    seed: int
    """The seed of the initial weights and of the data."""
    same_allocator: bool = False
    """Peers get the C allocator's settings that our training processes set for themselves; else
    they have the system's, as their users' programs do."""

    @property
    def keeps_memory(self) -> bool:
        """Whether this contestant's process is set up as ours."""
        return self.same_allocator or self.contestant not in PEERS

    @property
    def tokens(self) -> int:
        """Tokens of one update."""
        return self.batch * self.seq


class Order(Frozen):
    """What the parent asks for: so many updates, the first `untimed` of which do not count."""

    updates: int
    untimed: int
    rest: bool = True
    """Give unused memory back afterwards, since others' turns come."""


class Reply(Frozen):
    """What comes after an order, or (the first) after the contestant is built and has made one
    update."""

    seconds: tuple[float, ...] = ()
    """How long each timed update took, on the contestant's own clock, device synchronised."""
    losses: tuple[float, ...] = ()
    """The loss of every update, the untimed too."""
    first_update_seconds: float | None = None
    """The time from the model with its initial weights on the device to the end of the first
    update: optimizer, compilation, update. Only in the first reply."""
    peak_bytes: int = 0
    """The process's resident memory at its highest so far; on CUDA the allocator's."""
    parameters: int = 0
    failed: str | None = None
    """Why the contestant cannot go on; nothing follows."""
