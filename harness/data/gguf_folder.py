"""A Llama model in a GGUF file, as a folder that transformers loads. No torch, no transformers.

Quantized tensors are dequantized to fp32. transformers' own reader of GGUF is not used: it wants
one more package, and it drops the digits' pre-tokenizer that the file's tokenizer asks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import RequestError

_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""GGUF's name -> Llama's, of the weights of a block."""

_CONTROL = 3
"""GGUF's type of a token that stands for no text."""


def convert(file: Path, folder: Path) -> None:
    """Write config.json, model.safetensors, generation_config.json and the tokenizer's files.

    Raises RequestError for a file of another architecture or another kind of tokenizer, and for
    one that is not GGUF.
    """
    from gguf import GGUFReader
    from safetensors.numpy import save_file

    try:
        reader = GGUFReader(file)
    except (ValueError, IndexError, OSError) as error:
        raise RequestError(f"{file.name} is not a readable GGUF file: {error}") from None
    fields: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
    kind = fields.get("general.architecture")
    pre = fields.get("tokenizer.ggml.pre")
    if kind != "llama" or fields.get("tokenizer.ggml.model") != "gpt2" or pre != "smollm":
        raise RequestError(
            f"{file.name} is a '{kind}' model with a '{pre}' tokenizer; 'llama' with 'smollm' "
            "is read"
        )
    save_file(dict(_tensors(reader, fields)), folder / "model.safetensors", {"format": "pt"})
    tokens = {
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }
    _write(folder / "generation_config.json", tokens)
    _write_tokenizer(fields, folder)
    _write(folder / "config.json", _config(reader, fields) | tokens)


def _tensors(reader: Any, fields: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    from gguf.quants import dequantize

    heads = {
        "attn_q": fields["llama.attention.head_count"],
        "attn_k": fields["llama.attention.head_count_kv"],
    }
    whole = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    for tensor in reader.tensors:
        values = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
        if tensor.name in whole:
            yield whole[tensor.name], values
            continue
        _, layer, name, _ = tensor.name.split(".")
        if name in heads:
            values = _halves(values, heads[name])
        yield f"model.layers.{layer}.{_BLOCK[name]}.weight", values


def _halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows (heads · head_dim, width) from RoPE's neighbouring pairs, as GGUF orders them, to the
    two halves of a head that Llama's layout turns against each other."""
    rows, width = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, width)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, width))


def _config(reader: Any, fields: dict[str, Any]) -> dict[str, Any]:
    heads, width = fields["llama.attention.head_count"], fields["llama.embedding_length"]
    theta = float(fields["llama.rope.freq_base"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": fields["llama.vocab_size"],
        "hidden_size": width,
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "head_dim": width // heads,
        "hidden_act": "silu",
        "max_position_embeddings": fields["llama.context_length"],
        # Stored as fp32: its shortest decimal is what was meant (1e-05).
        "rms_norm_eps": float(str(np.float32(fields["llama.attention.layer_norm_rms_epsilon"]))),
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "rope_theta": theta,
        "initializer_range": width**-0.5,
        "tie_word_embeddings": all(t.name != "output.weight" for t in reader.tensors),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "pretraining_tp": 1,
        "use_cache": True,
    }


def _write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    """The byte-level BPE; `smollm` means that every digit is a token of its own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    names: list[str] = fields["tokenizer.ggml.tokens"]
    kinds: list[int] = fields["tokenizer.ggml.token_type"]
    pairs = [tuple(line.split(" ")) for line in fields["tokenizer.ggml.merges"]]
    vocabulary = {name: i for i, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [name for name, kind in zip(names, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in control])
    tokenizer.save(str(folder / "tokenizer.json"))
    token = {
        role: names[fields[f"tokenizer.ggml.{key}_token_id"]]
        for role, key in (
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("pad_token", "padding"),
            ("unk_token", "unknown"),
        )
    }
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **token,
        "clean_up_tokenization_spaces": False,
        "model_max_length": fields["llama.context_length"],
        "chat_template": fields["tokenizer.chat_template"],
    }
    _write(folder / "tokenizer_config.json", content)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
