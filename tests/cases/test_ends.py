"""What stands between texts: any tokenizer's own end; and what begins them, as `HFLM` has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from harness.commands.data_pretrain import Options as Texts
from harness.commands.data_pretrain import data_pretrain
from harness.commands.data_sft import Options, data_sft
from harness.data import ends, tokenizer
from harness.data.batches import read_split
from harness.data.manifest import load_folder
from harness.errors import RequestError
from tests.cases.families import FAMILIES
from tests.cases.test_folders import sentencepiece
from tests.data.conftest import texts


def _plain(fitted: Any) -> Any:
    """The same without the names of ChatML and `<|endoftext|>`."""
    from tokenizers import Tokenizer

    made = json.loads(fitted.to_str())
    new = {"<|endoftext|>": "[0]", "<|im_start|>": "[1]", "<|im_end|>": "[2]"}
    for token in made["added_tokens"]:
        token["content"] = new.get(token["content"], token["content"])
    made["model"]["vocab"] = {new.get(k, k): v for k, v in made["model"]["vocab"].items()}
    return Tokenizer.from_str(json.dumps(made))


def _folder(place: Path, family: str, *, pieces: bool = False, named: bool = True) -> Path:
    place.mkdir()
    kind = FAMILIES[family]
    made = sentencepiece()[0] if pieces else _plain(tokenizer.fit(texts(50, seed=1), 400))
    names = dict.fromkeys((kind.bos, kind.eos, *kind.special))
    made.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])
    made.save(str(place / "tokenizer.json"))
    said = {"bos_token": kind.bos, "eos_token": kind.eos} if named else {}
    said |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (place / "tokenizer_config.json").write_text(json.dumps(said))
    (place / "chat_template.jinja").write_text(kind.source(tagged=False))
    return place


@pytest.mark.parametrize(
    ("family", "pieces"),
    [("llama3", False), ("gemma2", False), ("gemma2", True), ("mistral-v1", True)],
)
def test_conversations_are_prepared_with_a_tokenizers_own_end(
    tmp_path: Path, family: str, pieces: bool
) -> None:
    place = _folder(tmp_path / "made", family, pieces=pieces)
    talks = [
        [{"role": "user", "content": f"q {i} é 🙂"}, {"role": "assistant", "content": f"a {i}"}]
        for i in range(40)
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks))
    data_sft(Options(out=tmp_path / "out", datasets=[str(path)], tokenizer=str(place), seq_len=256))
    said = load_folder(tmp_path / "out")
    assert said.manifest.unigram_bits_per_byte
    split = read_split(tmp_path / "out", "train")
    fitted = tokenizer.load(place)
    end = fitted.token_to_id(FAMILIES[family].eos)
    (tokens,), (documents,) = split.chunks("input_ids"), split.chunks("documents")
    assert (tokens[documents < 0] == end).all()
    # The bytes of what is learnt are those of the answers.
    answers = {talk[1]["content"] for talk in talks}
    labels = [row[row >= 0].tolist() for chunk in split.chunks("labels") for row in chunk]
    learnt = fitted.decode([token for row in labels for token in row], skip_special_tokens=True)
    assert sum(map(learnt.count, answers)) >= 30


@pytest.mark.parametrize("pieces", [False, True])
def test_texts_end_with_the_tokenizers_own_end(tmp_path: Path, pieces: bool) -> None:
    place = _folder(tmp_path / "made", "mistral-v1", pieces=pieces)
    own = [f"Text {i}: é 🙂, and {i * 7} is seven times {i}." for i in range(800)]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in own))
    data_pretrain(
        Texts(out=tmp_path / "out", datasets=[str(path)], tokenizer=str(place), seq_len=128,
              target_tokens=4000, val_fraction=0.2, processes=1)
    )  # fmt: skip
    tokens = [i for c in read_split(tmp_path / "out", "train").chunks("input_ids") for i in c.flat]
    fitted = tokenizer.load(place)
    end = fitted.token_to_id(FAMILIES["mistral-v1"].eos)
    first = tokens.index(end)
    whole = [int(token) for token in tokens[first + 1 : tokens.index(end, first + 1)]]
    text = fitted.decode(whole, skip_special_tokens=False)
    assert text.strip() in {one.strip() for one in own}
    assert load_folder(tmp_path / "out").manifest.unigram_bits_per_byte


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    place = _folder(tmp_path / "made", "llama3", named=False)
    with pytest.raises(RequestError, match="names no eos_token or pad_token"):
        ends.separator(place)
    (place / "special_tokens_map.json").write_text('{"pad_token": {"content": "<|eot_id|>"}}')
    assert ends.separator(place) == tokenizer.load(place).token_to_id("<|eot_id|>")


@pytest.mark.parametrize(
    ("config", "beside"),
    [
        ({"tokenizer_class": "GPT2Tokenizer"}, {}),
        ({"tokenizer_class": "GPT2Tokenizer", "bos_token": None}, {}),
        ({"tokenizer_class": "Qwen2Tokenizer"}, {}),
        ({"tokenizer_class": "LlamaTokenizer"}, {}),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, {}),
        ({"tokenizer_class": "PreTrainedTokenizerFast"},
         {"special_tokens_map.json": {"bos_token": {"content": "<|im_start|>"}}}),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": {"content": "<|im_end|>"}},
         {"special_tokens_map.json": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}}),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_end|>",
          "added_tokens_decoder": {"2": {"content": "<|im_end|>", "special": True}}},
         {"special_tokens_map.json": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}}),
        (None, {"config.json": {"model_type": "gpt2"}}),
        (None, {"config.json": {"model_type": "llama"}}),
        ({}, {"config.json": {"model_type": "qwen2"}}),
    ],
)  # fmt: skip
def test_the_ends_are_those_that_transformers_names(
    tmp_path: Path, config: dict[str, Any] | None, beside: dict[str, Any]
) -> None:
    """Of which `HFLM` takes the first or else the last as the token before a text."""
    from transformers import AutoTokenizer

    tokenizer.fit(texts(20, seed=1), 300).save(str(tmp_path / "tokenizer.json"))
    for name, content in (beside | {"tokenizer_config.json": config}).items():
        if content is not None:
            (tmp_path / name).write_text(json.dumps(content))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    found = ends.names(tmp_path)
    for role in ("bos_token", "eos_token"):
        assert found.get(role) == getattr(theirs, role), role
