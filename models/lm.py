"""The language model: embedding, blocks, final norm, head, and the sums that training needs.

Knows nothing of optimizers, schedules or data. Parameters are master weights; the compute dtype
is the model's own choice and is not saved with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.block import Block
from models.config import ModelConfig
from models.dtypes import reduction_dtype
from models.kernels.cross_entropy import IGNORED
from models.kernels.document_mask import borders_of
from models.layers import (
    Embedding,
    KVCache,
    Linear,
    RMSNorm,
    positions_within,
    rotary_angles,
)
from models.ops import choose, head_losses
from models.roles import Role, collect
from models.routing import Routing
from models.working import copy_of, refreshed


class LossSums(NamedTuple):
    """What one micro-batch adds to an update, as sums.

    Divided by the counts of the whole update, the losses' gradients do not depend on how the
    update was cut into micro-batches.
    """

    cross_entropy: Tensor
    """Scalar: summed over scored targets, nats; differentiable."""
    targets: Tensor
    """Scalar int64: scored targets."""
    routing: Tensor
    """Scalar: balance and z losses by their weights, summed over layers and over the
    micro-batch's sequences; differentiable; 0 for a dense model."""
    load: Tensor | None
    """(layers, experts) int64: token copies to each expert; None for a dense model."""
    router_entropy: Tensor | None
    """(layers,): summed over tokens, nats, detached; None for a dense model."""
    term: Tensor | None = None
    """Scalar: `LanguageModel.loss_term` summed over scored targets; None without one."""


class LanguageModel(nn.Module):
    """A decoder-only transformer, dense or a mixture of experts.

    Built with unset (NaN) parameters: call `init_weights`, or load a state. A model made
    `.double()` with `compute_dtype=torch.float64` is fp64 throughout.
    """

    def __init__(
        self,
        config: ModelConfig,
        compute_dtype: torch.dtype = torch.bfloat16,
        *,
        kernels: Sequence[str] = (),
        recompute: bool = False,
    ) -> None:
        """`kernels` are the Triton ones to use, by their names in `models.kernels.names`;
        `recompute` keeps only the blocks' inputs for the backward pass."""
        super().__init__()
        self.config = config
        self.compute_dtype = compute_dtype
        self.recompute = recompute
        self.ops = choose(kernels)
        self.loss_term: Callable[[Tensor, Tensor], Tensor] | None = None
        """Beside the cross-entropy: logits (targets, vocab) fp32 and targets -> a scalar sum."""
        self.embedding = Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config, self.ops) for _ in range(config.layers))
        self.final_norm = RMSNorm(config.width, config.norm_eps, self.ops)
        self.head = None if config.tied else Linear(config.width, config.vocab_size, kind="head")

    @property
    def _head_owner(self) -> Embedding | Linear:
        return self.embedding if self.head is None else self.head

    @property
    def head_weight(self) -> Tensor:
        """(vocab, width): the embedding's own where they are tied."""
        return self._head_owner.weight

    def init_weights(self, seed: int) -> None:
        """Every matrix and the embedding from N(0, init_std²), every norm 1; a vector of a part
        that is not ours stays as it was built.

        Drawn in fp32 on the CPU in the order of `named_parameters`, so that a seed means the same
        weights on every device and in every master dtype.
        """
        generator = torch.Generator().manual_seed(seed)
        roles = self.roles()
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if roles[name].kept:
                    continue
                if roles[name].kind == "norm":
                    parameter.fill_(1.0)
                else:
                    draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
                    parameter.copy_(draw * self.config.init_std)

    def roles(self) -> dict[str, Role]:
        """What each parameter is to an optimizer, by the names of `named_parameters`."""
        return collect(self)

    def working_weights(self) -> AbstractContextManager[None]:
        """Inside the context, the matrices are used through copies in the compute dtype, made at
        its beginning: for the micro-steps of one update."""
        return refreshed(self, self.compute_dtype)

    def hidden(
        self, tokens: Tensor, documents: Tensor | None = None, cache: KVCache | None = None
    ) -> tuple[Tensor, list[Routing]]:
        """tokens (b, s) int64 -> final hidden states (b, s, width), and each layer's routing
        (none for a dense model).

        With `documents`, (b, s) int64 and equal ones side by side, attention and positions end at
        their borders. With a cache, `tokens` follow those that it holds, and it grows by them.
        Raises ValueError for more positions than the model has, and for both at once.
        """
        c = self.config
        start = cache.length if cache is not None else 0
        if start + tokens.shape[1] > c.max_seq_len:
            raise ValueError(
                f"{start + tokens.shape[1]} tokens are more than the model's {c.max_seq_len}"
            )
        if documents is None:
            positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        elif cache is None:
            positions = positions_within(documents)
        else:
            raise ValueError("a cache holds one document: it takes no document numbers")
        rotary = rotary_angles(positions, c.head_dim, c.rope_theta, self.compute_dtype)
        borders = None if documents is None else borders_of(documents, self.compute_dtype)
        x = self.embedding(tokens, self.compute_dtype)
        routings = []
        for layer, block in enumerate(self.blocks):
            if self.recompute and torch.is_grad_enabled():
                x, routing = checkpoint(block, x, rotary, borders, use_reentrant=False)
            else:
                layer_cache = cache.layers[layer] if cache is not None else None
                x, routing = block(x, rotary, borders, layer_cache)
            if routing is not None:
                routings.append(routing)
        return self.final_norm(x), routings

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """tokens (b, s) int64 -> logits (b, s, vocab) in the compute dtype.

        With a cache, `tokens` follow those that it holds, and it grows by them.
        """
        hidden, _ = self.hidden(tokens, cache=cache)
        return self.logits(hidden)

    def logits(self, hidden: Tensor) -> Tensor:
        """Final hidden states (..., width) -> logits (..., vocab)."""
        return F.linear(hidden, self.head_weight.to(hidden.dtype))

    def loss_sums(
        self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None
    ) -> LossSums:
        """The losses of a micro-batch: tokens and targets (b, s) int64, target -100 ignored.

        `documents` as in `hidden`.
        """
        hidden, routings = self.hidden(tokens, documents)
        cross_entropy = self.ops.head_cross_entropy_sum(
            hidden.flatten(0, 1), self.head_weight, targets.flatten(),
            copy_of(self._head_owner, "weight", hidden.dtype),
        )  # fmt: skip
        scored = (targets != IGNORED).sum()
        term = self._term(hidden, targets) if self.loss_term is not None else None
        if not routings:
            none = hidden.new_zeros((), dtype=reduction_dtype(hidden.dtype))
            return LossSums(cross_entropy, scored, none, None, None, term)
        balance = torch.stack([r.balance for r in routings]).sum()
        z = torch.stack([r.z for r in routings]).sum()
        return LossSums(
            cross_entropy,
            scored,
            self.config.balance_weight * balance + self.config.z_weight * z,
            torch.stack([r.load for r in routings]),
            torch.stack([r.entropy for r in routings]),
            term,
        )

    def _term(self, hidden: Tensor, targets: Tensor) -> Tensor:
        assert self.loss_term is not None
        scored = targets != IGNORED
        logits = self.logits(hidden[scored]).to(reduction_dtype(hidden.dtype))
        return self.loss_term(logits, targets[scored])

    @torch.no_grad()
    def token_losses(
        self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy of each target, (b, s) fp32 nats, 0 where the target is -100.

        Without gradient, and without ever holding all logits. `documents` as in `hidden`.
        """
        hidden, _ = self.hidden(tokens, documents)
        losses = head_losses(hidden.flatten(0, 1), self.head_weight, targets.flatten())
        return losses.view(targets.shape)


class ParameterCount(NamedTuple):
    """Parameters of a built model."""

    total: int
    active: int
    """Those that one token passes through."""


def count_parameters(model: nn.Module) -> ParameterCount:
    """Counted from a built model, or a part of one, by its roles; a tied head is there once."""
    roles = collect(model)
    total = active = 0
    for name, parameter in model.named_parameters():
        total += parameter.numel()
        used = parameter.numel()
        if roles[name].kind == "expert":
            owner: Any = model.get_submodule(name.rpartition(".")[0])
            used = used // parameter.shape[0] * owner.top_k
        active += used
    return ParameterCount(total, active)
