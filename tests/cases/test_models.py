"""Model folders as people have them: transformers' logits, or one line with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from models.hf import from_transformers

Change = Callable[[Path], None]


def llama(place: Path, **more: Any) -> None:
    sizes: dict[str, Any] = dict(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**(sizes | more))
    transformers.LlamaForCausalLM(config).float().save_pretrained(place)


def other(place: Path, kind: str, **more: Any) -> None:
    sizes: dict[str, Any] = dict(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, head_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**(sizes | more))
    getattr(transformers, f"{kind}ForCausalLM")(config).float().save_pretrained(place)


def config(**changes: Any) -> Change:
    """Fields of config.json set, or with `...` taken out."""

    def change(place: Path) -> None:
        path = place / "config.json"
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))

    return change


def tensors(edit: Callable[[dict[str, torch.Tensor]], Any], **metadata: str) -> Change:
    def change(place: Path) -> None:
        path = place / "model.safetensors"
        held = load_file(path)
        edit(held)
        save_file(held, path, metadata=metadata or None)

    return change


def stored(dtype: torch.dtype) -> Change:
    return tensors(lambda held: held.update({k: v.to(dtype) for k, v in held.items()}))


def shards(place: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    (place / "model.safetensors").unlink()
    model.save_pretrained(place, max_shard_size="8KB")


def binary(place: Path) -> None:
    torch.save(load_file(place / "model.safetensors"), place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()


HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
NEW = {"rope_parameters": ...}
SAME: dict[str, tuple[dict[str, Any], Change | None]] = {
    "plain": ({}, None),
    "heads of their own": ({"num_key_value_heads": 4}, None),
    "one key for all heads": ({"num_key_value_heads": 1}, None),
    "no field for key heads": ({"num_key_value_heads": 4}, config(num_key_value_heads=...)),
    "wide heads": ({"head_dim": 16}, None),
    "tied": ({"tie_word_embeddings": True}, None),
    "tied, head stored too": (
        {"tie_word_embeddings": True},
        tensors(lambda held: held.update({HEAD: held[EMBEDDING].clone()}), format="pt"),
    ),
    "untied": ({"tie_word_embeddings": False}, None),
    "untied by default": ({}, config(tie_word_embeddings=...)),
    "padded vocabulary": ({"vocab_size": 128}, None),
    "no theta": ({}, config(**NEW)),
    "older theta": ({}, config(**NEW, rope_theta=500000.0)),
    "theta in rope_parameters": (
        {}, config(rope_parameters={"rope_theta": 5e5, "rope_type": "default"})
    ),
    "older scaling of none": ({}, config(**NEW, rope_scaling=None, rope_theta=1e4)),
    "the older form of rotary settings above the newer": ({}, config(
        rope_scaling={"rope_type": "default", "rope_theta": 77.0},
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )),
    "a part of the rotation, which Llama does not read": ({}, config(partial_rotary_factor=0.5)),
    "older settings that are empty": ({}, config(rope_scaling={}, rope_theta=77.0)),
    "no epsilon": ({}, config(rms_norm_eps=...)),
    "no length": ({}, config(max_position_embeddings=...)),
    "no activation": ({}, config(hidden_act=...)),
    "no type of weights": ({}, config(dtype=...)),
    "fields unknown here": ({}, config(pretraining_tp=2, _name="x", auto_map={"a": "b"})),
    "bf16": ({}, stored(torch.bfloat16)),
    "fp16": ({}, stored(torch.float16)),
    "no metadata": ({}, tensors(lambda held: None)),
    "metadata": ({}, tensors(lambda held: None, format="pt", made_by="x")),
    "shards": ({}, shards),
    "rotary frequencies stored": (
        {},
        tensors(lambda held: held.update(
            {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}), format="pt"),
    ),
}  # fmt: skip
REFUSED: dict[str, tuple[Change, Change | None, str]] = {
    "linear rope": (llama, config(**NEW, rope_scaling={"type": "linear", "factor": 2.0}), "type"),
    "llama3 rope": (
        llama, config(rope_parameters={"rope_type": "llama3", "factor": 8.0}), "rope_type"
    ),
    "linear rope above the newer form": (
        llama, config(rope_scaling={"type": "linear", "factor": 2.0}), "type is 'linear'"
    ),
    "rotary settings that are a word": (llama, config(rope_parameters="x"), "no object"),
    "a negative theta": (llama, config(**NEW, rope_theta=-2.0), "must be finite"),
    "no head size": (llama, config(head_dim=0), "head_dim"),
    "attention to later tokens": (llama, config(is_causal=False), "is_causal"),
    "layers of their own": (
        llama, config(per_layer_config={"0": {"rms_norm_eps": 0.1}}), "per_layer_config"
    ),
    "bias of attention": (lambda place: llama(place, attention_bias=True), None, "attention_bias"),
    "bias of the MLP": (lambda place: llama(place, mlp_bias=True), None, "mlp_bias"),
    "gelu": (llama, config(hidden_act="gelu"), "hidden_act"),
    "sliding window": (llama, config(sliding_window=8), "sliding_window"),
    "quantized": (llama, config(quantization_config={"bits": 4}), "quantization_config"),
    "fp64": (llama, stored(torch.float64), "F64"),
    "a .bin": (llama, binary, "holds no model.safetensors"),
    "a tensor too many": (
        llama, tensors(lambda held: held.update(x=torch.zeros(1))), "beyond the model"
    ),
    "a tensor too few": (llama, tensors(lambda held: held.pop(HEAD)), "lacks the tensor"),
    "a wrong shape": (llama, config(intermediate_size=40), "but config.json's sizes"),
    "another vocabulary": (llama, config(vocab_size=97), "vocab_size"),
    "a tied head of its own": (llama, config(tie_word_embeddings=True), "ties it"),
    "not a number": (
        llama, tensors(lambda held: held[EMBEDDING].fill_(float("nan"))), "not finite"
    ),
    "cut off": (
        llama, lambda place: (place / "model.safetensors").write_bytes(b"\x08\0\0\0"), "damaged"
    ),
    "a Git LFS pointer": (
        llama, lambda place: (place / "model.safetensors").write_text(
            "version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    "a folder in its place": (
        llama, lambda place: ((place / "model.safetensors").unlink(),
                              (place / "model.safetensors").mkdir()), "no regular file"),
    "no number in the configuration": (llama, config(rms_norm_eps=float("nan")), "must be finite"),
    "qwen2": (lambda place: other(place, "Qwen2"), None, "qwen2"),
    "qwen3 (QK-norm)": (lambda place: other(place, "Qwen3"), None, "qwen3"),
    "mistral": (lambda place: other(place, "Mistral"), None, "mistral"),
    "gemma": (lambda place: other(place, "Gemma"), None, "gemma"),
    "olmo2": (lambda place: other(place, "Olmo2"), None, "olmo2"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_a_folders_logits_are_transformers(tmp_path: Path, name: str) -> None:
    sizes, change = SAME[name]
    llama(tmp_path, **sizes)
    if change is not None:
        change(tmp_path)
    ids = torch.arange(3, 63).reshape(2, 30)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ours = from_transformers(tmp_path, torch.float32)
    with torch.no_grad():
        assert (ours.eval()(ids) - theirs.eval()(ids).logits).abs().max() < 1e-4


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_one_line_with_the_reason(tmp_path: Path, name: str) -> None:
    make, change, words = REFUSED[name]
    make(tmp_path)
    if change is not None:
        change(tmp_path)
    with pytest.raises(ValueError, match=words) as caught:
        from_transformers(tmp_path, torch.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_beside_the_weights_is_named(tmp_path: Path, name: str) -> None:
    """Which transformers adds to them where it can: other logits."""
    (tmp_path / "config.json").write_text(transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    ).to_json_string())  # fmt: skip
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=f"holds {name}: an adapter beside the weights"):
        from_transformers(tmp_path)
