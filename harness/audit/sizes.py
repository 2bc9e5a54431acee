"""How large a model of stated sizes is, and what a token costs it.

Three families: `llama` (RMSNorm, RoPE, no biases: the arithmetic of models/config.py, and shared
experts), `gpt2` (LayerNorm, learned positions, biases, tied) and `gpt-neox` (the same without
positions, untied).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.audit.printed import shown
from harness.errors import RequestError, nearest
from models import presets
from models.config import ModelConfig, active_parameters, total_parameters

_ACTIVATIONS = {
    "swiglu": ("swiglu", "SwiGLU"), "geglu": ("swiglu", "GeGLU"), "silu": ("silu", "SiLU"),
    "gelu": ("silu", "GELU"), "relu": ("silu", "ReLU"),
}  # fmt: skip
"""Name -> (what of models/config.py has as many matrices, how it is written)."""
_LLAMA: dict[str, Any] = {
    "vocab_size": None, "width": None, "layers": None, "heads": None, "kv_heads": None,
    "ffn": None, "head_dim": 0, "activation": "swiglu", "qk_norm": False, "tied": True,
    "experts": 0, "top_k": 0, "shared_experts": 0, "dense_layers": 0, "dense_ffn": 0,
}  # fmt: skip
_GPT2: dict[str, Any] = {
    "vocab_size": None, "width": None, "layers": None, "heads": None, "positions": None,
    "head_dim": 0, "ffn": 0, "tied": True,
}  # fmt: skip
_NEOX: dict[str, Any] = {
    name: default for name, default in _GPT2.items() if name != "positions"
} | {"tied": False}
_FAMILIES: dict[str, dict[str, Any]] = {"llama": _LLAMA, "gpt2": _GPT2, "gpt-neox": _NEOX}
_BESIDE = ("shared_experts", "dense_layers", "dense_ffn")
"""What models/config.py has no field for."""
_MAY_BE_ZERO = ("head_dim", "ffn", "experts", "top_k", *_BESIDE)
MOST = 10**9
"""The largest that any size may be: beyond, products no longer fit a float."""
HEAD_SIZES = (64, 80, 96, 128, 256)
"""Common sizes of a head, for saying how many heads a width may have."""


class ImpossibleModel(Exception):
    """Sizes that no model of the family can have: a finding about the claim, not about the file."""

    def __init__(self, text: str, reading: str) -> None:
        super().__init__(text)
        self.reading = reading


@dataclass(frozen=True)
class Size:
    """What the sizes of a model come to."""

    described: str
    total: int
    active: int
    embedding: int
    """Parameters of the token embedding, counted once."""
    tied: bool
    attention_per_position: float
    """Training FLOPs a token and position attended to, no mask."""
    softmax_per_position: float
    """The same of the softmax over the scores: three operations a score, and as much backward
    again twice."""
    kv_values: int
    """Keys and values of one token, in all layers."""
    config: ModelConfig | None = None
    """Where it is of our own family."""
    positions: int = 0
    """Parameters of learned positions."""

    @property
    def embeddings(self) -> dict[str, int]:
        """How many parameters are called the embedding's, by what is counted as it."""
        ways = {"the embedding": self.embedding}
        if not self.tied:
            ways["the embedding and the head"] = 2 * self.embedding
        if self.positions:
            ways |= {f"{name} and positions": n + self.positions for name, n in ways.items()}
            ways["positions"] = self.positions  # as nanoGPT counts
        return ways

    def conventions(self, seq_len: float | None) -> list[tuple[str, float]]:
        """Ways in which FLOPs a token are counted in the wild, the usual ones first.

        Every model has all of them, so that the rows of a table can be asked for a common one.
        The last is of "Training Compute-Optimal Large Language Models" (arXiv 2203.15556),
        appendix F: the look-up counts as a product with the embedding, attention has no mask.
        """
        everything = 6.0 * self.active
        table = 6.0 * self.embedding
        work = everything if self.tied else everything - table  # a look-up does none
        bases = [
            ("6N", work),
            ("6N without the embedding", work - table),
            ("6N with the look-up table", everything),
        ]
        if seq_len is None:
            return bases
        full = self.attention_per_position * seq_len
        return [
            *bases,
            *((f"{name} + causal attention", base + full / 2) for name, base in bases),
            *((f"{name} + full attention", base + full) for name, base in bases),
            ("Chinchilla's appendix F", work + table + full + self.softmax_per_position * seq_len),
        ]


def read(entry: Mapping[str, Any]) -> Size:
    """A model from its sizes.

    Raises RequestError for a missing or unknown field, ImpossibleModel for sizes that contradict
    each other.
    """
    entry = dict(entry)
    family = entry.pop("family", "llama")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise RequestError(f"no model family {shown(family)}{nearest(str(family), _FAMILIES)}")
    known: dict[str, Any] = _FAMILIES[family]
    for name in entry:
        if name not in known:
            raise RequestError(f"no model field '{name}' in {family}{nearest(name, known)}")
    missing = [name for name, default in known.items() if default is None and name not in entry]
    if missing:
        raise RequestError(f"a model states its {', '.join(missing)}")
    for name, size in entry.items():
        _check_type(name, size)
    sizes = {name: default for name, default in known.items() if default is not None} | entry
    sizes["head_dim"] = sizes["head_dim"] or _head_dim(sizes)
    return _llama(sizes) if family == "llama" else _classic(sizes, family)


def _check_type(name: str, size: Any) -> None:
    wanted = {"activation": "str", "qk_norm": "bool", "tied": "bool"}.get(name, "int")
    if type(size).__name__ != wanted:  # not isinstance: a bool is no size
        raise RequestError(f"model field {name} = {shown(size)} is not a {wanted}")
    if name == "activation" and size not in _ACTIVATIONS:
        raise RequestError(f"no activation {shown(size)}{nearest(size, _ACTIVATIONS)}")
    least = 0 if name in _MAY_BE_ZERO else 1
    if wanted == "int" and not least <= size <= MOST:
        raise RequestError(f"model field {name} = {shown(size)} is outside {least} to {MOST:,}")


def _head_dim(sizes: Mapping[str, Any]) -> int:
    width, heads = sizes["width"], sizes["heads"]
    if width % heads == 0:
        return int(width // heads)
    usual = sorted({width // size for size in HEAD_SIZES if width % size == 0 and width >= size})
    near = min(usual, key=lambda count: abs(count - heads), default=0)
    reading = f"if it had {near} heads of {width // near}" if near else "if a head's size is stated"
    raise ImpossibleModel(f"{width} wide on {heads} heads: {width / heads:.2f} a head", reading)


def _llama(sizes: dict[str, Any]) -> Size:
    if sizes["head_dim"] % 2:
        raise ImpossibleModel(
            f"a head of {sizes['head_dim']}: rotary positions turn pairs", "if it were even"
        )
    for whole, part in (("heads", "kv_heads"), ("experts", "top_k")):
        a, b = sizes[whole], sizes[part]
        if b > a or (part == "kv_heads" and a % b):
            raise ImpossibleModel(
                f"{a} {whole} on {b} {part.replace('_', ' ')}", "if one of the two were another"
            )
    if bool(sizes["experts"]) != bool(sizes["top_k"]) or sizes["experts"] == 1:
        raise ImpossibleModel(
            f"{sizes['experts']} experts of which {sizes['top_k']} are used",
            "if there were two experts or more, and one or more used",
        )
    if not sizes["ffn"]:
        raise RequestError("model field ffn = 0 is outside 1 and more")
    if sizes["dense_layers"] > sizes["layers"]:
        raise ImpossibleModel(
            f"{sizes['dense_layers']} dense layers of {sizes['layers']}", "if there were fewer"
        )
    alike, written = _ACTIVATIONS[sizes["activation"]]
    shared = sizes["shared_experts"]
    own = {name: size for name, size in sizes.items() if name not in _BESIDE}
    config = ModelConfig.model_validate(
        own | dict(
            activation=alike, rope_theta=10_000.0, norm_eps=1e-5, init_std=0.02, max_seq_len=2048,
            dropout=0.0, balance_weight=0.0, z_weight=0.0, router_noise=0.0,
        )
    )  # fmt: skip
    matrices = 3 if alike == "swiglu" else 2
    expert = matrices * config.width * config.ffn
    # Layers of a mixture that are dense have one network, and neither experts nor a router.
    dense = sizes["dense_layers"] if config.is_moe else 0
    mixtures = config.layers - dense
    beside = mixtures * shared * expert + dense * (
        matrices * config.width * sizes["dense_ffn"] - config.experts * config.width
    )
    described = (
        f"{config.width} wide, {config.layers} deep, {config.heads} heads on {config.kv_heads} KV, "
        f"{written} {config.ffn}, vocabulary {config.vocab_size:,}"
        + (f", {config.experts} experts top {config.top_k}" if config.is_moe else "")
        + (f" and {shared} shared" if shared else "")
        + (f", {dense} deep dense of {sizes['dense_ffn']}" if dense else "")
        + (", QK-norm" if config.qk_norm else "")
        + ("" if config.tied else ", untied head")
    )
    return Size(
        described,
        total_parameters(config) + beside - dense * config.experts * expert,
        active_parameters(config) + beside - dense * config.top_k * expert,
        config.vocab_size * config.width,
        config.tied,
        12.0 * config.heads * config.head_dim * config.layers,
        9.0 * config.heads * config.layers,
        2 * config.layers * config.kv_heads * config.head_dim,
        config if sizes["activation"] == alike and not shared and not dense else None,
    )


def _classic(sizes: dict[str, Any], family: str) -> Size:
    """Embedding V·d, twice if untied, and positions P·d; a block: queries, keys, values and output
    4·d·a + 3·a + d where the heads together are a wide, MLP 2·d·f + f + d, two LayerNorms 4·d;
    the final LayerNorm 2·d. As published, a = d and f = 4·d: 12·d² + 13·d a block."""
    width, layers = sizes["width"], sizes["layers"]
    inner = sizes["heads"] * sizes["head_dim"]
    if inner != width:
        raise ImpossibleModel(
            f"{sizes['heads']} heads of {sizes['head_dim']} are {inner:,}, not {width:,} wide",
            f"if it were {inner:,} wide",
        )
    ffn = sizes["ffn"] or 4 * width
    embedding = sizes["vocab_size"] * width
    positions = sizes.get("positions", 0) * width
    block = 4 * width * inner + 3 * inner + width + 2 * width * ffn + ffn + width + 4 * width
    total = embedding * (1 if sizes["tied"] else 2) + positions + layers * block + 2 * width
    layout = "GPT-2" if family == "gpt2" else "GPT-NeoX"
    described = (
        f"{width} wide, {layers} deep, {sizes['heads']} heads, vocabulary {sizes['vocab_size']:,}, "
        + (f"{sizes['positions']:,} positions, " if positions else "")
        + f"{layout}'s layout"
        + ("" if sizes["tied"] is (family == "gpt2") else ", tied" if sizes["tied"] else ", untied")
    )
    attention, softmax = 12.0 * inner * layers, 9.0 * sizes["heads"] * layers
    kv_values = 2 * layers * inner
    return Size(
        described, total, total, embedding, sizes["tied"], attention, softmax, kv_values,
        positions=positions,
    )  # fmt: skip


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
