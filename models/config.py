"""What a model is: sizes and constants, and the arithmetic that follows from them.

Frozen, typed and free of torch, so that planning and reporting can count parameters and FLOPs
without building anything. May not import from the harness.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator, model_validator

SIZES = ("vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "ffn")
LARGEST = 2**31 - 1
"""Of a size: what torch takes for one dimension, and more than any model has."""


class Counted(BaseModel):
    """What one layer's part amounts to, counted from the module that was built."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    total: int
    """Parameters."""
    active: int
    """Parameters that one token passes through."""
    flops: float | None
    """Training FLOPs for one token, forward and backward; None where they cannot be counted."""
    reason: str = ""
    """Why the FLOPs cannot be counted."""


class Part(BaseModel):
    """A part of a block that is chosen by name: nothing said is the one that the sizes imply."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = ""
    """A file of ours without its ending, `FILE.py[:CLASS]`, or `package.module:CLASS`."""
    settings: dict[str, Any] = {}
    """The class's own keyword arguments."""
    code: str = ""
    """The file's text, or the installed package and its version; the plan fills it in."""
    counted: Counted | None = None
    """The plan fills it in."""

    @field_validator("settings")
    @classmethod
    def _told_apart(cls, settings: dict[str, Any]) -> dict[str, Any]:
        check_settings(settings)
        return settings


NamedPart = Annotated[
    Part, BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)
]
"""A part that may be given by its name alone."""


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that a configuration's dotted fields could not tell apart: a name with a dot
    in it, and an empty table. Raises ValueError."""
    for name, value in settings.items():
        if "." in name or value == {}:
            raise ValueError(f"settings: '{name}' is a name with a dot, or an empty table")
        if isinstance(value, Mapping):
            check_settings(value)


class ModelConfig(BaseModel):
    """A decoder-only transformer: pre-norm blocks, RoPE, grouped-query attention, no biases.

    `experts == 0` is a dense model; otherwise every block's feed-forward is a mixture of
    `experts` networks of hidden width `ffn`, of which each token uses `top_k`.
    Sizes are final: presets do the arithmetic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    """Hidden width of the feed-forward; of each expert where there are experts."""
    activation: Literal["swiglu", "silu"]
    """`swiglu`: gate, up and down matrices; `silu`: two matrices, as the seed's experts."""
    qk_norm: bool
    """RMSNorm over each head of queries and keys, its weight shared by all heads."""
    rope_theta: float
    norm_eps: float
    tied: bool
    """The output head is the token embedding."""
    init_std: float
    max_seq_len: int
    dropout: float
    """The dropout on the output of attention and of the feed-forward."""
    experts: int
    top_k: int
    balance_weight: float
    """Load-balancing loss (Switch Transformer, arXiv 2101.03961, eq. 4), summed over layers."""
    z_weight: float
    """Router z-loss (ST-MoE, arXiv 2202.08906, eq. 5), summed over layers."""
    router_noise: float
    """Standard deviation of Gaussian noise on router logits in training; 0 is none."""
    feed_forward: NamedPart = Part()
    """A feed-forward in the place of the one that `activation` and `experts` imply."""
    attention: NamedPart = Part()
    """An attention in the place of the causal grouped-query one."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in (*SIZES, "max_seq_len", "experts"):
            if getattr(self, name) > LARGEST:
                raise ValueError(f"{name} must be at most {LARGEST:,}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd: RoPE turns pairs")
        if self.experts < 0 or self.experts == 1:
            raise ValueError(f"experts must be 0 (dense) or at least 2, not {self.experts}")
        if self.experts and not 1 <= self.top_k <= self.experts:
            raise ValueError(f"top_k {self.top_k} is outside 1..{self.experts} experts")
        if not self.experts and self.top_k:
            raise ValueError(f"top_k {self.top_k} means nothing without experts")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")
        return self

    @property
    def is_moe(self) -> bool:
        """Whether the feed-forward is a mixture of experts."""
        return self.experts > 0


def total_parameters(config: ModelConfig) -> int:
    """Every parameter, a tied head counted once."""
    return _parameters(config, active=False)


def active_parameters(config: ModelConfig) -> int:
    """The parameters that one token passes through: all but the experts it is not routed to."""
    return _parameters(config, active=True)


def _parameters(c: ModelConfig, *, active: bool) -> int:
    embedding = c.vocab_size * c.width * (1 if c.tied else 2)
    queries_and_output = 2 * c.width * c.heads * c.head_dim
    keys_and_values = 2 * c.width * c.kv_heads * c.head_dim
    head_norms = 2 * c.head_dim if c.qk_norm else 0
    attention = queries_and_output + keys_and_values + head_norms
    if (own := c.attention.counted) is not None:
        attention = own.active if active else own.total
    experts_used = (c.top_k if active else c.experts) if c.is_moe else 1
    matrices = 3 if c.activation == "swiglu" else 2
    feed_forward = experts_used * matrices * c.width * c.ffn + c.experts * c.width  # the router
    if (own := c.feed_forward.counted) is not None:
        feed_forward = own.active if active else own.total
    block = attention + feed_forward + 2 * c.width  # and its norms
    return embedding + c.layers * block + c.width  # and the final norm


def flops_per_token(config: ModelConfig, seq_len: int, *, causal: bool = True) -> float:
    """Training FLOPs (forward and backward) for one token of a sequence of `seq_len`.

    1. 6 a parameter: a matrix product costs 2 FLOPs a weight (multiply, add) and the backward
       pass twice the forward (PaLM, arXiv 2204.02311, appendix B). Active parameters only: a
       token does no work in experts it is not routed to.
    2. The embedding counts once: as the head it is a matrix product, as a look-up it costs
       nothing. (An untied look-up table is taken off.)
    3. Attention's two products, Q Kᵀ and P V: 2 · 2 · seq_len · heads · head_dim a layer forward,
       times 3 with the backward. A causal mask leaves half of it; `causal=False` is the other
       convention, which counts the masked half as work.
    4. Left out: softmax, norms, activations, RoPE, the optimizer. Under 2 % at these sizes.
    5. A part that is not ours counts as what its own matrix products came to when it was built.

    Raises ValueError where a part's FLOPs are not known.
    """
    if (reason := flops_unknown(config)) is not None:
        raise ValueError(reason)
    own = [part.counted for part in (config.attention, config.feed_forward) if part.counted]
    parameters = active_parameters(config) - config.layers * sum(one.active for one in own)
    if not config.tied:
        parameters -= config.vocab_size * config.width
    attention = 12.0 * seq_len * config.heads * config.head_dim * config.layers
    if config.attention.counted is not None:
        attention = 0.0
    counted = config.layers * sum(one.flops or 0.0 for one in own)
    return 6.0 * parameters + (attention / 2 if causal else attention) + counted


def known_flops_per_token(
    config: ModelConfig, seq_len: int, *, causal: bool = True
) -> float | None:
    """As `flops_per_token`; None where a part's FLOPs are not known."""
    if flops_unknown(config) is not None:
        return None
    return flops_per_token(config, seq_len, causal=causal)


def flops_unknown(config: ModelConfig) -> str | None:
    """Why the model's FLOPs are not known; None where they are."""
    for part in (config.attention, config.feed_forward):
        if part.counted is not None and part.counted.flops is None:
            return f"the FLOPs of {part.name} are not known: {part.counted.reason}"
    return None


def expected_initial_loss(config: ModelConfig) -> float:
    """The cross-entropy, in nats, that the initialisation implies.

    After the final norm the hidden state h has unit mean square, and each logit is its product
    with a row of N(0, init_std²): the logits are N(0, v), v = width · init_std². Then the expected
    log of the sum over the vocabulary of exp(logit) is about ln vocab + v / 2 (the mean of a
    log-normal), and the target's own logit is 0 on average.
    """
    return math.log(config.vocab_size) + config.width * config.init_std**2 / 2
