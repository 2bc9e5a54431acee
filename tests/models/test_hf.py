import json
import logging
import shutil
import warnings

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GenerationConfig, MixtralConfig, MixtralForCausalLM

from models.hf import from_transformers, read_config, to_transformers
from models.presets import model as preset
from tests.models.small import DENSE, MOE, SILU_MOE, build, tokens

BASES = {"llama": DENSE, "untied": DENSE | {"tied": False}, "mixtral": MOE}


def same_weights(a, b):
    pairs = zip(a.named_parameters(), b.named_parameters(), strict=True)
    return all(n == m and torch.equal(x, y) for (n, x), (m, y) in pairs)


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_there_and_back_bit_for_bit(base, tmp_path):
    model = build(base)
    to_transformers(model, tmp_path)
    back = from_transformers(tmp_path)
    assert same_weights(model, back)
    lost = {"z_weight": 0.0}
    assert back.config == model.config.model_copy(update=lost)
    assert back.compute_dtype == torch.bfloat16


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_transformers_loads_it_without_a_warning_and_saves_what_we_load(base, tmp_path, caplog):
    model = build(base)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    (tmp_path / "tokenizer.json").write_text("{}")
    to_transformers(model, ours, [tmp_path / "tokenizer.json"], eos_token_id=[2, 3], pad_token_id=2)
    transformers.utils.logging.enable_propagation()
    try:
        with caplog.at_level(logging.WARNING), warnings.catch_warnings():
            warnings.simplefilter("error")
            loaded, info = AutoModelForCausalLM.from_pretrained(ours, output_loading_info=True)
    finally:
        transformers.utils.logging.disable_propagation()
    assert caplog.records == []
    assert not any(info.values())
    assert loaded.dtype == torch.float32
    assert loaded.config.eos_token_id == [2, 3]
    assert GenerationConfig.from_pretrained(ours).pad_token_id == 2
    assert (ours / "tokenizer.json").read_text() == "{}"
    loaded.save_pretrained(theirs)
    assert same_weights(model, from_transformers(theirs))


def test_a_bf16_checkpoint_becomes_fp32_masters(tmp_path):
    config = MixtralConfig(
        vocab_size=97, hidden_size=40, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=3,
        max_position_embeddings=64,
    )  # fmt: skip
    theirs = MixtralForCausalLM(config).to(torch.bfloat16)
    theirs.save_pretrained(tmp_path)
    ours = from_transformers(tmp_path, torch.float32)
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    inputs = tokens(2, 9)
    with torch.no_grad():
        # The same fp32 arithmetic on the same numbers; 1e-4 is the project's contract.
        assert (ours(inputs) - theirs.float()(input_ids=inputs).logits).abs().max() < 1e-4


def test_the_released_style_of_configuration_is_read(tmp_path):
    theirs = {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "hidden_act": "silu",
        "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3, "max_position_embeddings": 8192, "rms_norm_eps": 1e-05,
        "rope_interleaved": False, "rope_scaling": None, "rope_theta": 100000,
        "tie_word_embeddings": True, "initializer_range": 0.041666666666666664,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(theirs))
    assert read_config(tmp_path) == preset("dense", "full")


@pytest.mark.parametrize(
    ("base", "line"),
    [
        (SILU_MOE, "Mixtral has no counterpart for a two-matrix SiLU experts"),
        (DENSE | {"qk_norm": True}, "Llama has no QK-norm"),
        (DENSE | {"heads": 3, "kv_heads": 1}, "a multiple of the heads, not 40 with 3"),
    ],
)
def test_what_has_no_counterpart_is_refused(base, line, tmp_path):
    with pytest.raises(ValueError, match=line):
        to_transformers(build(base), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match=r"cannot write a model to .*out: "):
        to_transformers(build(DENSE), tmp_path / "out")


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


NORM = "model.norm.weight"
DAMAGE = {
    "architecture": (lambda f: edit_config(f, model_type="gpt2"), "architecture 'gpt2'"),
    "activation": (lambda f: edit_config(f, hidden_act="gelu"), "hidden_act is 'gelu'"),
    "bias": (lambda f: edit_config(f, attention_bias=True), "attention_bias is True"),
    "rope": (
        lambda f: edit_config(f, rope_parameters={"rope_type": "yarn", "rope_theta": 1.0}),
        "rope_type is 'yarn'",
    ),
    "no width": (lambda f: edit_config(f, hidden_size=None), "config.json: "),
    "a size in words": (lambda f: edit_config(f, vocab_size="many"), "vocab_size Input should"),
    "a size without end": (lambda f: edit_config(f, hidden_size=10**30), "width must be at most"),
    "a number without end": (lambda f: edit_config(f, rms_norm_eps=10**400), "int too large"),
    "no heads": (lambda f: edit_config(f, num_attention_heads=0, head_dim=None), "zero"),
    "vocabulary": (
        lambda f: edit_config(f, vocab_size=96),
        r"embed_tokens.weight' is \(97, 40\), but config.json's vocab_size makes it \(96, 40\)",
    ),
    "feed-forward": (lambda f: edit_config(f, intermediate_size=57), "sizes make it"),
    "no config": (lambda f: (f / "config.json").unlink(), "cannot read .*config.json"),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "architecture 'None'"),
    "missing": (lambda f: edit_tensors(f, lambda t: t.pop(NORM)), f"lacks the tensor '{NORM}'"),
    "fewer layers": (
        lambda f: edit_config(f, num_hidden_layers=1),
        r"holds, beyond the model, the tensor 'model.layers.1.* and \d+ more",
    ),
    "another head": (
        lambda f: edit_tensors(f, lambda t: t.update({"lm_head.weight": torch.zeros(97, 40)})),
        "a head of its own",
    ),
    "integers": (
        lambda f: edit_tensors(f, lambda t: t.update({NORM: t[NORM].int()})),
        "is I32; fp32, bf16 and fp16 are read",
    ),
    "truncated": (truncate, "is damaged or truncated"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "is damaged or truncated"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "holds no model.safetensors"),
    "no folder": (shutil.rmtree, "cannot read .*config.json"),
}


@pytest.mark.parametrize(("damage", "line"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_one_clear_line(damage, line, tmp_path):
    folder = tmp_path / "model"
    to_transformers(build(DENSE), folder)
    damage(folder)
    with pytest.raises(ValueError, match=line) as error:
        from_transformers(folder)
    assert "\n" not in str(error.value)


def test_a_tied_head_stored_twice_is_read(tmp_path):
    model = build(DENSE)
    to_transformers(model, tmp_path)
    edit_tensors(
        tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()})
    )
    assert same_weights(model, from_transformers(tmp_path))
