"""To and from the folders that transformers loads: Llama for dense models, Mixtral for mixtures.

Plain safetensors and JSON in the layout that the Hub holds; transformers itself is not needed.
Weights pass bit for bit. What the layout cannot hold (QK-norm, two-matrix feed-forwards) is
refused; what it has no field for (dropout, z-loss weight, router noise: training only) is 0 in
a model that comes back. Every error is one ValueError of one line.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.config import ModelConfig
from models.hf_files import ADAPTERS, WEIGHTS, Tensors, is_pointer, read_json, weight_files
from models.lm import LanguageModel

READ = ("F32", "BF16", "F16")
"""Types that weights may have, as safetensors calls them."""

# What must stand in config.json, or may be absent: any other value changes the computation into
# one that these models do not do.
FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "sliding_window": (None,),
    "rope_interleaved": (False, None),
    "quantization_config": (None,),
    "is_causal": (True,),
    "per_layer_config": (None, {}),
}
ROPE_FIXED: dict[str, tuple[Any, ...]] = {
    "rope_type": ("default", None),
    "type": ("default", None),
    "partial_rotary_factor": (1.0, None),
}

DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"rope_theta": 10_000.0, "rms_norm_eps": 1e-6, "max_position_embeddings": 2048},
    "mixtral": {
        "rope_theta": 1e6, "rms_norm_eps": 1e-5, "max_position_embeddings": 131_072,
        "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
    },
}  # fmt: skip
"""What transformers fills in where a config.json says nothing, as older ones do."""


class _Place(NamedTuple):
    """Where one tensor of the layout lives in our model."""

    theirs: str
    ours: str
    rows: slice = slice(None)
    """The rows of our parameter's last but one dimension, where it holds several matrices."""
    expert: int | None = None
    """The index in our parameter's first dimension."""

    def of(self, parameter: Tensor) -> Tensor:
        """The view of our parameter that the tensor is."""
        matrix = parameter if self.expert is None else parameter[self.expert]
        return matrix[self.rows]


def _places(config: ModelConfig) -> Iterator[_Place]:
    inner, shared = config.heads * config.head_dim, config.kv_heads * config.head_dim
    gate, up = slice(0, config.ffn), slice(config.ffn, 2 * config.ffn)
    yield _Place("model.embed_tokens.weight", "embedding.weight")
    for layer in range(config.layers):
        theirs, ours = f"model.layers.{layer}.", f"blocks.{layer}."
        block: dict[str, tuple[str, slice]] = {
            "input_layernorm": ("attention_norm", slice(None)),
            "self_attn.q_proj": ("attention.query_key_value", slice(0, inner)),
            "self_attn.k_proj": ("attention.query_key_value", slice(inner, inner + shared)),
            "self_attn.v_proj": (
                "attention.query_key_value", slice(inner + shared, inner + 2 * shared)
            ),
            "self_attn.o_proj": ("attention.output", slice(None)),
            "post_attention_layernorm": ("feed_forward_norm", slice(None)),
        }  # fmt: skip
        if config.is_moe:
            block["block_sparse_moe.gate"] = ("feed_forward.router", slice(None))
        else:
            block["mlp.gate_proj"] = ("feed_forward.gate_up", gate)
            block["mlp.up_proj"] = ("feed_forward.gate_up", up)
            block["mlp.down_proj"] = ("feed_forward.down", slice(None))
        for their_name, (our_name, rows) in block.items():
            yield _Place(f"{theirs}{their_name}.weight", f"{ours}{our_name}.weight", rows)
        for expert in range(config.experts):
            prefix = f"{theirs}block_sparse_moe.experts.{expert}"
            yield _Place(f"{prefix}.w1.weight", f"{ours}feed_forward.inner", gate, expert)
            yield _Place(f"{prefix}.w3.weight", f"{ours}feed_forward.inner", up, expert)
            yield _Place(f"{prefix}.w2.weight", f"{ours}feed_forward.down", expert=expert)
    yield _Place("model.norm.weight", "final_norm.weight")
    if not config.tied:
        yield _Place("lm_head.weight", "head.weight")


def to_transformers(
    model: LanguageModel,
    folder: Path,
    tokenizer_files: Sequence[Path] = (),
    *,
    bos_token_id: int | None = None,
    eos_token_id: int | list[int] | None = None,
    pad_token_id: int | None = None,
) -> None:
    """Write a folder that transformers' `from_pretrained` loads, tokenizer files copied into it.

    Weights are written in the masters' fp32. `config.json` comes last, so that a folder left by
    an interruption is not taken for a model. Raises ValueError where the layout has no
    counterpart for the model, or the folder cannot be one.
    """
    config = model.config
    _check_expressible(config)
    tokens = {
        "bos_token_id": bos_token_id, "eos_token_id": eos_token_id, "pad_token_id": pad_token_id,
    }  # fmt: skip
    state = {name: p.detach() for name, p in model.named_parameters()}
    odd = {str(p.dtype) for p in state.values() if p.dtype != torch.float32}
    if odd:
        raise ValueError(f"only fp32 master weights are exported, not {', '.join(sorted(odd))}")
    tensors = {}
    for place in _places(config):
        # Cloned, since it may be part of a larger one: the format wants separate storages.
        tensors[place.theirs] = place.of(state[place.ours]).clone().cpu().contiguous()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
        known = {name: value for name, value in tokens.items() if value is not None}
        _write_json(folder / "generation_config.json", known)
        for file in tokenizer_files:
            content = file.read_bytes()
            _write(folder / file.name, partial(Path.write_bytes, data=content))
        _write_json(folder / "config.json", _their_config(config) | tokens)
    except OSError as error:
        raise ValueError(f"cannot write a model to {folder}: {error.strerror}") from None


def _check_expressible(config: ModelConfig) -> None:
    for part in (config.feed_forward, config.attention):
        if part.name:
            raise ValueError(f"transformers has no counterpart for {part.name}")
    layout = "Mixtral" if config.is_moe else "Llama"
    what = "experts" if config.is_moe else "feed-forward"
    if config.activation != "swiglu":
        raise ValueError(
            f"transformers' {layout} has no counterpart for a two-matrix SiLU {what}; "
            "a model with activation 'swiglu' can be exported"
        )
    if config.qk_norm:
        raise ValueError(f"transformers' {layout} has no QK-norm; a model without can be exported")
    if config.width % config.heads:
        raise ValueError(
            f"transformers' {layout} wants a width that is a multiple of the heads, "
            f"not {config.width} with {config.heads}"
        )


def _their_config(config: ModelConfig) -> dict[str, Any]:
    theirs: dict[str, Any] = {
        "architectures": ["MixtralForCausalLM" if config.is_moe else "LlamaForCausalLM"],
        "model_type": "mixtral" if config.is_moe else "llama",
        "dtype": "float32",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_seq_len,
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        # Readers older than `rope_parameters` would otherwise take their own default.
        "rope_theta": config.rope_theta,
        "initializer_range": config.init_std,
        "tie_word_embeddings": config.tied,
        "attention_dropout": 0.0,
        "use_cache": True,
    }
    if config.is_moe:
        theirs |= {
            "num_local_experts": config.experts,
            "num_experts_per_tok": config.top_k,
            "router_aux_loss_coef": config.balance_weight,
            "router_jitter_noise": 0.0,
            "output_router_logits": False,
            "sliding_window": None,
        }
    else:
        theirs |= {"attention_bias": False, "mlp_bias": False, "pretraining_tp": 1}
    return theirs


def from_transformers(folder: Path, compute_dtype: torch.dtype = torch.bfloat16) -> LanguageModel:
    """The model in a transformers folder, its weights as fp32 masters.

    Strict: raises ValueError for another architecture, a setting that these models do not have,
    tensors that are missing, left over, of another shape or not finite, and files that cannot be
    read. Memory is taken once names and shapes are known to fit.
    """
    config = read_config(folder)
    if adapter := next((name for name in ADAPTERS if (folder / name).is_file()), None):
        raise ValueError(
            f"{folder} holds {adapter}: an adapter beside the weights, which are other ones with "
            "it; merge it into them (peft's merge_and_unload), or move it elsewhere"
        )
    files = weight_files(folder)
    try:
        with ExitStack() as stack, torch.no_grad():
            tensors = Tensors([stack.enter_context(safe_open(f, framework="pt")) for f in files])
            if config.layers > len(tensors):  # as many modules would be made first
                raise ValueError(
                    f"{folder / WEIGHTS} holds {len(tensors):,} tensors, and config.json says "
                    f"{config.layers:,} layers"
                )
            with torch.device("meta"):
                model = LanguageModel(config, compute_dtype)
            places = list(_places(config))
            _check(dict(model.named_parameters()), places, tensors, folder, config)
            model.to_empty(device="cpu")
            parameters = dict(model.named_parameters())
            for place in places:
                tensor = tensors.get_tensor(place.theirs)
                if not tensor.isfinite().all():
                    raise ValueError(f"'{place.theirs}' holds values that are not finite")
                place.of(parameters[place.ours]).copy_(tensor)
    except FileNotFoundError as error:
        raise ValueError(f"{folder} holds no {Path(error.filename or WEIGHTS).name}") from None
    except (SafetensorError, OSError) as error:
        if any(map(is_pointer, files)):
            raise ValueError(
                f"{folder / WEIGHTS} is a Git LFS pointer and not the weights: `git lfs pull`"
            ) from None
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder / WEIGHTS} is damaged or truncated: {reason}") from None
    return model


def _check(
    parameters: dict[str, torch.nn.Parameter],
    places: list[_Place],
    file: Tensors,
    folder: Path,
    config: ModelConfig,
) -> None:
    wanted = {place.theirs for place in places}
    # Older writers stored what follows from rope_theta; transformers computes it as well.
    there = {name for name in file.keys() if not name.endswith(".rotary_emb.inv_freq")}  # noqa: SIM118
    missing, extra = sorted(wanted - there), sorted(there - wanted)
    if config.tied and "lm_head.weight" in extra and not missing:
        # Some writers store the tied head a second time; it must then be the same.
        if not torch.equal(
            file.get_tensor("lm_head.weight"), file.get_tensor("model.embed_tokens.weight")
        ):
            raise ValueError(
                f"{folder / WEIGHTS} holds a head of its own, but config.json ties it to the "
                "embedding (tie_word_embeddings)"
            )
        extra.remove("lm_head.weight")
    for names, what in ((missing, "lacks"), (extra, "holds, beyond the model,")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(f"{folder / WEIGHTS} {what} the tensor '{names[0]}'{more}")
    for place in places:
        target = place.of(parameters[place.ours])
        shape = file.shape(place.theirs)
        if shape != target.shape:
            field = "vocab_size" if place.theirs == "model.embed_tokens.weight" else "sizes"
            raise ValueError(
                f"'{place.theirs}' is {tuple(shape)}, but config.json's {field} "
                f"make{'s' if field == 'vocab_size' else ''} it {tuple(target.shape)}"
            )
        dtype = file.dtype(place.theirs)
        if dtype not in READ:
            raise ValueError(f"'{place.theirs}' is {dtype}; fp32, bf16 and fp16 are read")


def read_config(folder: Path) -> ModelConfig:
    """The configuration in a transformers folder. Raises ValueError as `from_transformers`."""
    path = folder / "config.json"
    try:
        theirs = read_json(path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    kind = theirs.get("model_type") if isinstance(theirs, dict) else None
    if kind not in ("llama", "mixtral"):
        raise ValueError(f"{path} is of architecture '{kind}'; 'llama' and 'mixtral' are read")
    # As transformers takes it: the older name stands above the newer one.
    rope = theirs.get("rope_scaling") or theirs.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise ValueError(f"{path}: its rotary settings are {rope!r} and no object")
    for values, fixed in ((theirs, FIXED), (rope, ROPE_FIXED)):
        for field, allowed in fixed.items():
            if field in values and values[field] not in allowed:
                raise ValueError(f"{path}: {field} is {values[field]!r}; {allowed[0]!r} is read")
    try:
        config = _our_config(theirs, rope)
    except KeyError as error:
        raise ValueError(f"{path} lacks {error.args[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {where} {first['msg']}".replace(":  ", ": ")) from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not (math.isfinite(config.norm_eps) and 0 < config.rope_theta < math.inf):
        raise ValueError(f"{path}: rms_norm_eps and rope_theta must be finite numbers")
    return config


def _our_config(theirs: dict[str, Any], rope: dict[str, Any]) -> ModelConfig:
    mixture = theirs["model_type"] == "mixtral"
    theirs = DEFAULTS[theirs["model_type"]] | theirs
    heads, width = theirs["num_attention_heads"], theirs["hidden_size"]
    kv_heads, head_dim = theirs.get("num_key_value_heads"), theirs.get("head_dim")
    rope_theta = rope["rope_theta"] if "rope_theta" in rope else theirs["rope_theta"]
    return ModelConfig(
        vocab_size=theirs["vocab_size"],
        width=width,
        layers=theirs["num_hidden_layers"],
        heads=heads,
        kv_heads=heads if kv_heads is None else kv_heads,
        head_dim=width // heads if head_dim is None else head_dim,
        ffn=theirs["intermediate_size"],
        activation="swiglu",
        qk_norm=False,
        rope_theta=float(rope_theta),
        norm_eps=float(theirs["rms_norm_eps"]),
        tied=theirs.get("tie_word_embeddings", False),
        init_std=float(theirs.get("initializer_range", 0.02)),
        max_seq_len=theirs["max_position_embeddings"],
        dropout=0.0,
        experts=theirs["num_local_experts"] if mixture else 0,
        top_k=theirs["num_experts_per_tok"] if mixture else 0,
        balance_weight=float(theirs.get("router_aux_loss_coef", 0.0)) if mixture else 0.0,
        z_weight=0.0,
        router_noise=0.0,
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    _write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _write(path: Path, fill: Callable[[Path], Any]) -> None:
    """Fill a temporary file beside `path`, bring it to disk, and put it in place at once."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        fill(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
