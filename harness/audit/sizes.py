"""How large a model of stated sizes is, and what a token costs it. No torch.

Two families: `llama` (RMSNorm, RoPE, no biases: the arithmetic of models/config.py) and `gpt2`
(LayerNorm, learned positions, biases).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import RequestError, nearest
from models import presets
from models.config import (
    ModelConfig,
    active_parameters,
    flops_per_token,
    total_parameters,
)

_LLAMA: dict[str, Any] = {
    "vocab_size": None, "width": None, "layers": None, "heads": None, "kv_heads": None,
    "ffn": None, "head_dim": 0, "activation": "swiglu", "qk_norm": False, "tied": True,
    "experts": 0, "top_k": 0,
}  # fmt: skip
_GPT2: dict[str, Any] = {
    "vocab_size": None,
    "width": None,
    "layers": None,
    "heads": None,
    "positions": None,
}


@dataclass(frozen=True)
class Size:
    """What the sizes of a model come to."""

    described: str
    total: int
    active: int
    embedding: int
    """Of the token embedding, counted once."""
    attention_per_position: float
    """Training FLOPs a token and position attended to, no mask."""
    config: ModelConfig | None = None
    """Where it is of our own family."""

    def conventions(self, seq_len: float | None) -> list[tuple[str, float]]:
        """Ways in which FLOPs a token are counted in the wild, from the least to the most."""
        six = 6.0 * self.active
        if self.config is not None:
            six = flops_per_token(self.config, 0)
        bases = [("6N without the embedding", six - 6.0 * self.embedding), ("6N", six)]
        if six < 6.0 * self.active:  # an untied look-up table, which does no work, but has N
            bases.append(("6N with the look-up table", 6.0 * self.active))
        if seq_len is None:
            return bases
        full = self.attention_per_position * seq_len
        return [
            *bases,
            *((f"{name} + causal attention", base + full / 2) for name, base in bases),
            *((f"{name} + full attention", base + full) for name, base in bases),
        ]


def read(entry: Mapping[str, Any]) -> Size:
    """A model from its sizes. Raises RequestError for a missing, unknown or impossible one."""
    entry = dict(entry)
    family = entry.pop("family", "llama")
    if family not in ("llama", "gpt2"):
        raise RequestError(f"no model family '{family}'{nearest(str(family), ('llama', 'gpt2'))}")
    known = _LLAMA if family == "llama" else _GPT2
    for name in entry:
        if name not in known:
            raise RequestError(f"no model field '{name}'{nearest(name, known)}")
    missing = [name for name, default in known.items() if default is None and name not in entry]
    if missing:
        raise RequestError(f"a model states its {', '.join(missing)}")
    for name, size in entry.items():
        wanted = {"activation": str, "qk_norm": bool, "tied": bool}.get(name, int)
        if type(size) is not wanted or (isinstance(size, int) and size < 0):
            raise RequestError(
                f"model field {name} = {size!r} is not a {wanted.__name__} it can have"
            )
    sizes = {name: default for name, default in known.items() if default is not None} | entry
    return _llama(sizes) if family == "llama" else _gpt2(sizes)


def _llama(sizes: dict[str, Any]) -> Size:
    head_dim = sizes["head_dim"] or (
        sizes["width"] // sizes["heads"] if sizes["heads"] and not _ragged(sizes) else 0
    )
    if not head_dim:
        raise RequestError("width is not a multiple of heads: state head_dim")
    try:
        config = ModelConfig.model_validate(
            sizes
            | dict(
                head_dim=head_dim, rope_theta=10_000.0, norm_eps=1e-5, init_std=0.02,
                max_seq_len=2048, dropout=0.0, balance_weight=0.0, z_weight=0.0, router_noise=0.0,
            )
        )  # fmt: skip
    except ValueError as error:
        raise RequestError(f"no such model: {' '.join(str(error).split())}") from None
    kinds = {"swiglu": "SwiGLU", "silu": "SiLU"}
    described = (
        f"{config.width} wide, {config.layers} deep, {config.heads} heads on {config.kv_heads} KV, "
        f"{kinds[config.activation]} {config.ffn}, vocabulary {config.vocab_size:,}"
        + (f", {config.experts} experts top {config.top_k}" if config.is_moe else "")
        + (", QK-norm" if config.qk_norm else "")
        + ("" if config.tied else ", untied head")
    )
    return Size(
        described,
        total_parameters(config),
        active_parameters(config),
        config.vocab_size * config.width,
        12.0 * config.heads * config.head_dim * config.layers,
        config,
    )


def _ragged(sizes: dict[str, Any]) -> bool:
    return bool(sizes["width"] % sizes["heads"])


def _gpt2(sizes: dict[str, Any]) -> Size:
    """Tied embedding V·d, positions P·d; a block: attention 4d² + 4d, MLP 8d² + 5d, two LayerNorms
    4d, so 12d² + 13d; the final LayerNorm 2d."""
    width, layers = sizes["width"], sizes["layers"]
    embedding = sizes["vocab_size"] * width
    positions = sizes["positions"] * width
    total = embedding + positions + layers * (12 * width**2 + 13 * width) + 2 * width
    described = (
        f"{width} wide, {layers} deep, {sizes['heads']} heads, vocabulary "
        f"{sizes['vocab_size']:,}, {sizes['positions']:,} positions, GPT-2's layout"
    )
    return Size(described, total, total, embedding, 12.0 * width * layers)


def released_with(low: float, high: float) -> list[str]:
    """Presets of this project at `full` whose size lies within an interval, in words."""
    found = []
    for kind in presets.KINDS:
        config = presets.model(kind, "full")
        size = total_parameters(config)
        if low <= size <= high:
            name = "SmolLM2-135M" if kind == "dense" else kind
            found.append(
                f"{name}'s {config.width}/{config.layers}/{config.heads}/{config.kv_heads}/"
                f"{config.ffn}, which has {size:,}"
            )
    return found
