"""A folder of Llama's layout as one GGUF file, which llama.cpp reads. No torch, no transformers.

The names of tensors are those of the library's own map, the file is written by its own writer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import RequestError, nearest

TYPES = {"f16": "MOSTLY_F16", "f32": "ALL_F32", "q8_0": "MOSTLY_Q8_0"}
"""How weights may be kept -> the library's name of it. Vectors are fp32 in each."""
_NORMAL, _CONTROL = 1, 3
"""GGUF's types of a token: text, and one that stands for none."""


def check_type(kind: str) -> None:
    """Raises RequestError for one that is not written."""
    if kind not in TYPES:
        raise RequestError(f"no GGUF type '{kind}'{nearest(kind, TYPES)}")


def is_expressible(folder: Path) -> bool:
    """Whether the folder's model is of the layout that is written, Llama's, and llama.cpp has a
    name for what its tokenizer does."""
    llama = _read(folder / "config.json")["model_type"] == "llama"
    return llama and _kind(_read(folder / "tokenizer.json")) is not None


def _kind(tokenizer: dict[str, Any]) -> str | None:
    """What llama.cpp calls the way in which a byte-level BPE cuts texts, None where it is another
    one: it knows these by name only."""
    pre = tokenizer.get("pre_tokenizer") or {}
    steps = pre.get("pretokenizers", [pre])
    cuts = tuple(step.get("type") for step in steps)
    bytes_, digits = steps[-1], steps[0]
    plain = (
        tokenizer["model"].get("type") == "BPE"
        and not tokenizer.get("normalizer")
        and bytes_.get("use_regex", True)
        and not bytes_.get("add_prefix_space")
    )
    if plain and cuts == ("Digits", "ByteLevel") and digits.get("individual_digits"):
        return "smollm"
    return "gpt-2" if plain and cuts == ("ByteLevel",) else None


def write(folder: Path, file: Path, kind: str = "f16") -> None:
    """Write `file` from the folder's config.json, model.safetensors and tokenizer.

    Raises RequestError for a model of another layout than Llama's, or another kind of tokenizer.
    """
    import gguf
    from gguf.quants import quantize
    from safetensors import safe_open

    check_type(kind)
    config = _read(folder / "config.json")
    if config["model_type"] != "llama":
        raise RequestError(f"GGUF is written of dense models, not of '{config['model_type']}'")
    writer = gguf.GGUFWriter(file, "llama")
    _describe(writer, config, folder)
    writer.add_file_type(gguf.LlamaFileType[TYPES[kind]])
    _add_tokenizer(writer, config, folder)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    turned = {
        "q_proj": config["num_attention_heads"],
        "k_proj": config["num_key_value_heads"],
    }
    wanted = {"f16": "F16", "f32": "F32", "q8_0": "Q8_0"}[kind]
    with safe_open(folder / "model.safetensors", "numpy") as weights:
        for name in weights.keys():  # noqa: SIM118 - not a dict
            values = weights.get_tensor(name)
            part = name.rsplit(".", 2)[-2]
            if part in turned:
                values = _pairs(values, turned[part])
            # Vectors, and matrices whose rows are no whole blocks, stay as they are.
            fits = values.ndim > 1 and (kind != "q8_0" or values.shape[-1] % 32 == 0)
            quantized = gguf.GGMLQuantizationType[wanted if fits else "F32"]
            data = quantize(values.astype(np.float32), quantized)
            known = names.get_name(name, try_suffixes=(".weight",))
            assert known is not None, name
            writer.add_tensor(known, data, raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, config: dict[str, Any], folder: Path) -> None:
    rope = config.get("rope_parameters") or config
    writer.add_name(folder.name)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(head)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))


def _add_tokenizer(writer: Any, config: dict[str, Any], folder: Path) -> None:
    """The byte-level BPE, under the name that llama.cpp has for its way of cutting texts."""
    content = _read(folder / "tokenizer.json")
    kind = _kind(content)
    if kind is None:
        raise RequestError("GGUF is written with tokenizers that cut texts as GPT-2's or SmolLM's")
    model, rows = content["model"], config["vocab_size"]
    names = {i: name for name, i in model["vocab"].items()}
    special = {one["id"]: one["content"] for one in content["added_tokens"] if one["special"]}
    names |= {one["id"]: one["content"] for one in content["added_tokens"]}
    kept = [names.get(i, f"[unused {i}]") for i in range(rows)]
    kinds = [_CONTROL if i in special or i not in names else _NORMAL for i in range(rows)]
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(kind)
    writer.add_token_list(kept)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    ends = config.get("eos_token_id")
    for add, token in (
        (writer.add_bos_token_id, config.get("bos_token_id")),
        # Of a model of conversations a turn's end, as its tokenizer says.
        (writer.add_eos_token_id, ends[-1] if isinstance(ends, list) else ends),
        (writer.add_pad_token_id, config.get("pad_token_id")),
    ):
        if token is not None:
            add(token)
    writer.add_add_bos_token(False)
    template = folder / "chat_template.jinja"
    settings = folder / "tokenizer_config.json"
    if template.is_file():
        writer.add_chat_template(template.read_text("utf-8"))
    elif settings.is_file() and "chat_template" in (said := _read(settings)):
        table = said["chat_template"]
        if isinstance(table, dict):  # the library's reader takes a list of them
            table = [{"name": name, "template": one} for name, one in table.items()]
        writer.add_chat_template(table)


def _pairs(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows (heads · head_dim, width) from the two halves of a head, as Llama's layout orders them,
    to RoPE's neighbouring pairs."""
    rows, width = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, width)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, width))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found
