"""Models and tokenizers of others: prompts, scores and text as in transformers and `HFLM`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers import models as kinds

from harness.commands import models
from harness.commands.sample import Options, sample
from harness.data import tokenizer as ours
from harness.data.pieces import Pieces
from harness.data.tokens import END_OF_TEXT
from harness.errors import RequestError
from models.hf import DEFAULTS
from tests.data.conftest import texts

PROMPT = "global with return"


def byte_level() -> tuple[Tokenizer, dict[str, str]]:
    """With a first token of its own, and added tokens: words, a run of spaces."""
    fitted = ours.fit(texts(50, seed=1), 350)
    fitted.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    fitted.add_tokens([AddedToken(name, normalized=False) for name in ("<tool result>", "    ")])
    return fitted, {"bos_token": "<|im_start|>", "eos_token": END_OF_TEXT}


def without_additions() -> tuple[Tokenizer, dict[str, str]]:
    return ours.fit(texts(50, seed=1), 350), {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}


def sentencepiece() -> tuple[Tokenizer, dict[str, str]]:
    """`▁` for spaces and a token for each byte, as Llama 2 has them."""
    fitted = Tokenizer(kinds.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    fitted.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    fitted.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    named = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=named, show_progress=False)
    fitted.train_from_iterator(texts(50, seed=1), trainer)
    plain = json.loads(fitted.to_str())
    plain["added_tokens"] = plain["added_tokens"][:3]
    fitted = Tokenizer.from_str(json.dumps(plain))
    fitted.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return fitted, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


Make = Callable[[], tuple[Tokenizer, dict[str, str]]]


NAMES = ("<s>", "</s>", "<unk>")


def variant(name: str, model: str = "BPE", template: str | None = None, **parts: Any) -> Make:
    """A tokenizer of another build: its model, normalizer, pre_tokenizer and decoder, and maybe a
    `template` that its post-processor writes around texts."""

    def make() -> tuple[Tokenizer, dict[str, str]]:
        settings = {} if model == "Unigram" else {"unk_token": "<unk>"}
        fitted = Tokenizer(getattr(kinds, model)(**settings))
        for part, value in parts.items():
            setattr(fitted, part, value)
        own = {"unk_token": "<unk>"} if model == "Unigram" else {}
        if isinstance(parts.get("decoder"), decoders.ByteLevel):
            own["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
        trainer = getattr(trainers, f"{model.replace('BPE', 'Bpe')}Trainer")(
            vocab_size=400, special_tokens=list(NAMES), show_progress=False, **own
        )
        fitted.train_from_iterator(texts(50, seed=1), trainer)
        if template:
            fitted.post_processor = processors.TemplateProcessing(
                single=template, special_tokens=[(one, NAMES.index(one)) for one in NAMES]
            )
        return fitted, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

    make.__name__ = name
    return make


GPT4 = Regex(r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|[^\r\n\p{L}\p{N}]?\p{L}+|\s+(?!\S)|\s+")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
METASPACE = dict(pre_tokenizer=pre_tokenizers.Metaspace(), decoder=decoders.Metaspace())
VARIANTS = [
    variant("gpt2", pre_tokenizer=BYTES, decoder=decoders.ByteLevel()),
    variant("roberta", pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True),
            decoder=decoders.ByteLevel(), template="<s> $A </s>"),
    variant("llama3", decoder=decoders.ByteLevel(), template="<s> $A",
            pre_tokenizer=pre_tokenizers.Sequence([
                pre_tokenizers.Split(GPT4, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])),
    variant("qwen", normalizer=normalizers.NFC(), pre_tokenizer=BYTES,
            decoder=decoders.ByteLevel()),
    variant("digits", decoder=decoders.ByteLevel(), pre_tokenizer=pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), BYTES])),
    variant("mistral", template="<s> $A", **METASPACE),
    variant("t5", model="Unigram", template="$A </s>", **METASPACE),
    variant("xlnet", model="Unigram", normalizer=normalizers.NFKC(), **METASPACE),
    variant("bert", model="WordPiece", normalizer=normalizers.Lowercase(),
            pre_tokenizer=pre_tokenizers.Whitespace(), decoder=decoders.WordPiece()),
]  # fmt: skip
MAKES: list[Make] = [byte_level, without_additions, sentencepiece, *VARIANTS]


def folder(place: Path, make: Make) -> Path:
    place.mkdir()
    fitted, names = make()
    fitted.save(str(place / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (place / "tokenizer_config.json").write_text(json.dumps(config | names))
    torch.manual_seed(0)
    sizes = transformers.LlamaConfig(
        vocab_size=fitted.get_vocab_size(), hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=128, initializer_range=0.3,
        bos_token_id=fitted.token_to_id(names["bos_token"]),
        eos_token_id=fitted.token_to_id(names["eos_token"]),
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(sizes).float()
    bytes_ = [i for name, i in fitted.get_vocab().items() if name.startswith("<0x")]
    with torch.no_grad():
        model.lm_head.weight[bytes_] = 0.0  # seldom said: noise in bytes is no text to compare
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="module", params=MAKES, ids=lambda make: make.__name__)
def place(request, tmp_path_factory) -> Path:
    return folder(tmp_path_factory.mktemp("folders") / "model", request.param)


def test_a_sample_is_transformers_greedy_text(place: Path, capsys) -> None:
    sample(Options(str(place), PROMPT, max_tokens=20, device="cpu", dtype="fp32", as_json=True))
    said = json.loads(capsys.readouterr().out)
    peer = transformers.AutoTokenizer.from_pretrained(place)
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    prompt = peer(PROMPT, return_tensors="pt")
    whole = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0]
    assert said["tokens"] == whole[prompt["input_ids"].shape[1] :].tolist()
    text = peer.decode(whole, skip_special_tokens=True)
    # Not the prompt itself: a tokenizer may put a space before it.
    assert peer.decode(prompt["input_ids"][0], skip_special_tokens=True) + said["text"] == text


def test_scores_are_those_of_hflm(place: Path) -> None:
    from tests.e2e.test_tasks import instances, theirs
    from tests.e2e.test_tasks import ours as mine

    bos = json.loads((place / "tokenizer_config.json").read_text())["bos_token"]
    pairs = [("global", " with"), ("global ", "with"), ("", "return while"), (bos + "not", " if")]
    a, b = (
        model.loglikelihood(instances("loglikelihood", pairs))
        for model in (mine(place), theirs(place))
    )
    assert [x for x, _ in a] == pytest.approx([x for x, _ in b], abs=1e-3)
    whole = [("global with return",), ("",)]
    a, b = (
        model.loglikelihood_rolling(instances("loglikelihood_rolling", whole[:1]))
        for model in (mine(place), theirs(place))
    )
    assert a == pytest.approx(b, abs=1e-3)
    long = "global with return " * 90  # beyond the model's positions: cut from the left
    settings = {"until": ["re", "\n\n"], "max_new_tokens": 10, "do_sample": False}
    # One by one: of several at once, `HFLM` asks the first alone whether it begins with a token.
    for text in (PROMPT, long, bos + "a"):
        prompt = instances("generate_until", [(text, settings)])
        a, b = (model.generate_until(prompt) for model in (mine(place), theirs(place)))
        assert a == b


STREAMS = {make.__name__: make()[0] for make in MAKES}


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    name=st.sampled_from(sorted(STREAMS)),
)
def test_a_stream_is_what_the_tokenizer_decodes(text: str, name: str) -> None:
    """Piece by piece the same text as at once, and no piece but the last has half a character."""
    spoken = STREAMS[name]
    ids = spoken.encode(text, add_special_tokens=False).ids
    pieces = Pieces(spoken)
    said = [pieces.push(token) for token in ids]
    assert "".join(said) + pieces.end() == spoken.decode(ids)
    if "�" not in text:
        assert not any("�" in piece for piece in said)


def test_added_tokens_are_literal_text() -> None:
    """Also those whose characters stand in the byte alphabet; the library's decoder breaks them."""
    spoken = ours.fit(texts(50, seed=1), 350)
    words = ["đem", "ilÖve", "č", "<tool result>", "    "]
    spoken.add_tokens([AddedToken(word, normalized=False) for word in words])
    pieces = Pieces(spoken)
    assert [pieces.push(spoken.token_to_id(word)) for word in words] == words


@pytest.mark.parametrize("role", ["bos_token_id", "eos_token_id"])
def test_an_id_without_a_row_is_one_line(tmp_path: Path, role: str) -> None:
    place = folder(tmp_path / "model", without_additions)
    path = place / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {role: 128_000}))
    with pytest.raises(RequestError, match=f"{role} 128000 is no token of the model"):
        models.load(models.resolve(str(place)), dtype="fp32")


def test_padding_that_the_model_has_no_row_for_matters_where_a_text_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder(tmp_path / "model", without_additions)
    padded = transformers.AutoTokenizer.from_pretrained(place)
    padded.add_special_tokens({"pad_token": "[PAD]"})
    padded.save_pretrained(place)

    def said(prompt: str) -> str:
        sample(Options(str(place), prompt, max_tokens=8, device="cpu", dtype="fp32"))
        return capsys.readouterr().out

    assert said(PROMPT).startswith(PROMPT)
    with pytest.raises(RequestError, match=r"the text holds '\[PAD\]', which was added to the"):
        said(f"{PROMPT} [PAD]")


def logits_of(place: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Ours, and transformers'."""
    ids = torch.arange(40)[None]
    loaded = models.load(models.resolve(str(place)), dtype="fp32")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    with torch.no_grad():
        return loaded.model(ids), theirs(ids).logits


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_what_a_configuration_leaves_out_is_transformers_default(tmp_path: Path, kind: str) -> None:
    place = folder(tmp_path / "model", without_additions)
    if kind == "mixtral":
        sizes = transformers.MixtralConfig(
            vocab_size=350, hidden_size=64, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=8, initializer_range=0.3, sliding_window=None,
        )  # fmt: skip
        transformers.MixtralForCausalLM(sizes).float().save_pretrained(place)
    path = place / "config.json"
    config = json.loads(path.read_text())
    for name in DEFAULTS[kind]:
        config.pop(name, None)
    if kind == "llama":  # its own sizes, not the default's
        config["num_key_value_heads"] = 1
    del config["rope_parameters"]
    path.write_text(json.dumps(config))
    mine, theirs = logits_of(place)
    assert (mine - theirs).abs().max() < 1e-4
    read = transformers.AutoConfig.from_pretrained(place)
    ours_ = models.load(models.resolve(str(place)), dtype="fp32").model.config
    assert (ours_.rope_theta, ours_.norm_eps, ours_.max_seq_len) == (
        read.rope_parameters["rope_theta"], read.rms_norm_eps, read.max_position_embeddings,
    )  # fmt: skip


def test_weights_in_several_files_are_one_model(tmp_path: Path) -> None:
    place = folder(tmp_path / "model", without_additions)
    whole, _ = logits_of(place)
    digest = models.resolve(str(place)).digest()
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    (place / "model.safetensors").unlink()
    model.save_pretrained(place, max_shard_size="30KB")
    parts = sorted(place.glob("model-*.safetensors"))
    assert len(parts) > 1
    assert torch.equal(logits_of(place)[0], whole)
    assert models.resolve(str(place)).digest() not in ("", digest)
    parts[0].unlink()
    with pytest.raises(RequestError, match=f"holds no {parts[0].name}"):
        models.load(models.resolve(str(place)), dtype="fp32")


CLASSES = ("GPT2Tokenizer", "LlamaTokenizerFast", "Qwen2Tokenizer", "T5Tokenizer",
           "GPTNeoXTokenizerFast", "GemmaTokenizer")  # fmt: skip
ODD = ("global with return", " two  spaces\n\n 12345 é", "<s> hi </s>x", "")


@pytest.mark.parametrize("make", MAKES, ids=lambda make: make.__name__)
def test_a_class_that_reads_the_file_its_own_way_is_asked(tmp_path: Path, make: Make) -> None:
    """A folder may name a class of transformers that builds parts of the tokenizer anew."""
    fitted, names = make()
    for number, (named, more) in enumerate(
        (named, more)
        for named in (*CLASSES[MAKES.index(make) % 5 :][:2], None)
        for more in ({}, {"add_bos_token": True}, {"add_prefix_space": True})
    ):
        place = tmp_path / str(number)
        place.mkdir()
        fitted.save(str(place / "tokenizer.json"))
        config = names | more | ({"tokenizer_class": named} if named else {})
        (place / "tokenizer_config.json").write_text(json.dumps(config))
        try:
            peer = transformers.AutoTokenizer.from_pretrained(place)
            theirs = [peer(text)["input_ids"] for text in ODD]
        except Exception:  # what the class cannot make of this file
            with pytest.raises(RequestError, match="transformers cannot make the"):
                ours.load(place)
            continue
        mine = ours.load(place)
        mine.encode_special_tokens = False
        assert [mine.encode(text).ids for text in ODD] == theirs, config


BESIDE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a list of special ones": ({"additional_special_tokens": ["<X>"]}, {}),
    "extra ones": ({"extra_special_tokens": ["<X>"]}, {}),
    "extra ones by name": ({"extra_special_tokens": {"image_token": "<X>"}}, {}),
    "a table of added ones": (
        {"added_tokens_decoder": {"350": {"content": "<X>", "special": True}}}, {}
    ),
    "one that takes spaces": (
        {"added_tokens_decoder": {"2": {"content": "<|im_end|>", "lstrip": True, "rstrip": True,
                                        "special": True}}}, {}
    ),
    "a role": ({"pad_token": "<X>"}, {}),
    "a word of the vocabulary as a role": ({"pad_token": "t"}, {}),
    "an older file of roles": ({}, {"special_tokens_map.json": {"unk_token": "<X>"}}),
    "an older file of added ones": ({}, {"added_tokens.json": {"<X>": 350}}),
    "names are text": ({"split_special_tokens": True}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("named", ["GPT2Tokenizer", None])
def test_tokens_that_only_a_file_beside_names_are_there(
    tmp_path: Path, name: str, named: str | None
) -> None:
    """In no tokenizer.json, or otherwise there: a text that names one would be cut otherwise."""
    config, files = BESIDE[name]
    ours.fit(texts(50, seed=1), 350).save(str(tmp_path / "tokenizer.json"))
    said = config | ({"tokenizer_class": named} if named else {})
    for file, content in {"tokenizer_config.json": said, **files}.items():
        (tmp_path / file).write_text(json.dumps(content))
    text = "let <X> the t <|im_end|>  a"
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    mine = ours.load(tmp_path)
    mine.encode_special_tokens = ours.splits_special(tmp_path)
    assert mine.encode(text).ids == peer(text)["input_ids"]
    assert mine.get_vocab() == peer.get_vocab()


def test_what_a_tokenizer_cuts_and_fills_is_not_taken(tmp_path: Path) -> None:
    """Settings of somebody's last call, that `save` keeps: texts would end after 4 tokens."""
    fitted = ours.fit(texts(50, seed=1), 350)
    fitted.enable_truncation(4)
    fitted.enable_padding(length=64)
    ours.save(fitted, tmp_path, 64)
    text = "global with return " * 9
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.load(tmp_path).encode(text).ids == peer(text)["input_ids"]
