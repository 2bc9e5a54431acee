"""What a model's folder says of generating: as transformers' greedy tokens, or one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from harness.commands.sample import Options, sample
from harness.errors import RequestError
from tests.cases.test_folders import PROMPT, byte_level, folder

NEW = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("generation") / "model", byte_level)


def write(place: Path, settings: dict[str, Any] | None) -> None:
    path = place / "generation_config.json"
    path.unlink(missing_ok=True)
    if settings is not None:
        path.write_text(json.dumps(settings))


def theirs(place: Path) -> list[int]:
    peer = transformers.AutoTokenizer.from_pretrained(place)
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    prompt = peer(PROMPT, return_tensors="pt")
    whole = model.generate(**prompt, max_new_tokens=NEW, do_sample=False)[0]
    tokens: list[int] = whole[prompt["input_ids"].shape[1] :].tolist()
    return tokens


def mine(place: Path, capsys: pytest.CaptureFixture[str]) -> list[int]:
    sample(Options(str(place), PROMPT, max_tokens=NEW, device="cpu", dtype="fp32", as_json=True))
    tokens: list[int] = json.loads(capsys.readouterr().out)["tokens"]
    return tokens


def test_the_ends_are_those_of_the_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One, several, none; in either file. A token with a known name is no end by its name."""
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(
        json.dumps({k: v for k, v in config.items() if not k.endswith("_token_id")})
    )
    write(place, {})
    free = theirs(place)
    assert len(free) == NEW
    third, fourth = free[2], free[3]
    for number, settings in enumerate(
        ({"eos_token_id": third}, {"eos_token_id": [fourth, third]}, {}, None,
         {"bos_token_id": 1, "pad_token_id": 0}, {"eos_token_id": None})
    ):  # fmt: skip
        write(place, settings)
        assert mine(place, capsys) == theirs(place), number
    for settings in ({}, {"bos_token_id": 1}, None):
        write(place, settings)
        (place / "config.json").write_text(json.dumps(config | {"eos_token_id": third}))
        assert mine(place, capsys) == theirs(place), settings


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 2}, {"suppress_tokens": [5]},
        {"num_beams": 2}, {"min_new_tokens": 3}, {"bad_words_ids": [[5]]},
        {"forced_eos_token_id": 0}, {"begin_suppress_tokens": [5]},
    ],
)  # fmt: skip
def test_a_setting_that_changes_greedy_tokens_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]
) -> None:
    write(place, settings | {"eos_token_id": 0})
    with pytest.raises(RequestError, match=rf"generation_config\.json sets {next(iter(settings))}"):
        mine(place, capsys)


def test_settings_that_change_no_greedy_token_are_passed_over(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place, {
        "eos_token_id": 0, "repetition_penalty": 1.0, "num_beams": 1, "temperature": 0.6,
        "top_p": 0.9, "do_sample": True, "max_length": 2048, "transformers_version": "4.0",
        "no_repeat_ngram_size": 0, "suppress_tokens": None, "length_penalty": 1.0,
    })  # fmt: skip
    assert mine(place, capsys) == theirs(place)


def test_tasks_end_and_refuse_as_hflm_would(place: Path) -> None:
    """It ends at the tokenizer's end whatever the model's settings say, and follows a penalty,
    which is not followed here: scores are still given."""
    from tests.e2e.test_tasks import instances
    from tests.e2e.test_tasks import ours as model_of
    from tests.e2e.test_tasks import theirs as hflm

    write(place, {})
    settings = {"until": ["\n\n"], "max_gen_toks": NEW, "do_sample": False}
    path = place / "tokenizer_config.json"
    plain = json.loads(path.read_text())
    names = transformers.AutoTokenizer.from_pretrained(place)
    for end in ("<|endoftext|>", names.convert_ids_to_tokens(theirs(place)[3])):
        path.write_text(json.dumps(plain | {"eos_token": end}))
        prompt = instances("generate_until", [(PROMPT, settings)])
        assert model_of(place).generate_until(prompt) == hflm(place).generate_until(prompt)
    path.write_text(json.dumps(plain))
    write(place, {"repetition_penalty": 1.3})
    model = model_of(place)
    with pytest.raises(ValueError, match=r"sets repetition_penalty to 1\.3"):
        model.generate_until(prompt)
    pairs = instances("loglikelihood", [("global", " with")])
    assert model.loglikelihood(pairs)[0][0] == pytest.approx(
        hflm(place).loglikelihood(pairs)[0][0], abs=1e-3
    )
