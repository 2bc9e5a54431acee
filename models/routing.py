"""What a feed-forward that routes tokens tells beside its result."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Routing(NamedTuple):
    """What one layer's router did with a micro-batch."""

    balance: Tensor
    """(b,) load-balancing loss of each sequence, 1 where the load is even; differentiable."""
    z: Tensor
    """(b,) mean over each sequence's tokens of logsumexp(router logits)²; differentiable."""
    load: Tensor
    """(experts,) int64: token copies sent to each expert."""
    entropy: Tensor
    """Scalar: sum over tokens of the routing distribution's entropy in nats; detached."""
