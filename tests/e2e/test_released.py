"""The released weights through the door: they speak, and beat a model that only counts tokens."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data import texts, tokenizer
from harness.data.assets import find_smollm2
from harness.stats.bootstrap import bits_per_byte_interval
from harness.train.documents import score_documents
from models.hf import from_transformers

# Looked up now: the tests' own cache takes the place of the user's when they begin.
FOLDER = find_smollm2()
CACHE = FOLDER.parents[1] if FOLDER else None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOLDER is None, reason="no real weights: `smol fetch smollm2`"),
]
DOCUMENTS = 8


def smol(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", *arguments],
        env={**os.environ, "SMOL_CACHE": str(CACHE)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_it_names_paris_and_ends_its_turn() -> None:
    turn = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    said = json.loads(smol("sample", "smollm2", "--prompt", turn, "--dtype", "fp32", "--json"))
    assert said["text"] == "The capital of France is Paris."
    assert said["ended"] == "stop token"


def test_a_chat_of_two_turns_ends_each_at_its_end_of_turn() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", "chat", "smollm2", "--device", "cpu"],
        env={**os.environ, "SMOL_CACHE": str(CACHE)}, capture_output=True, text=True, check=True,
        input="What is the capital of France?\nAnd what country is it in?\n",
    )  # fmt: skip
    first, *second = done.stdout.splitlines()
    assert first == "The capital of France is Paris."
    assert "France" in " ".join(second)  # the second turn knows of the first
    assert done.stderr.count("ended at <|im_end|>") == 2


def test_its_bits_per_byte_beat_the_unigram_model() -> None:
    assert FOLDER is not None
    torch.set_num_threads(1)
    model = from_transformers(FOLDER, torch.bfloat16)
    fitted = tokenizer.load(FOLDER)
    documents = sorted(texts.named("stdlib-topics").documents, key=lambda d: d.size)
    documents = documents[len(documents) // 2 :][:DOCUMENTS]  # of middling length
    sizes = [document.size for document in documents]
    encoded = [fitted.encode(document.text).ids for document in documents]
    score = score_documents(
        model, [np.array(ids) for ids in encoded], sizes,
        start=0, context=2048, device=torch.device("cpu"),
    )  # fmt: skip
    # The unigram model of the standard library's docstrings, in the same tokens.
    counts = np.ones(fitted.get_vocab_size())
    for document in texts.named("stdlib-prose").documents:
        counts += np.bincount(fitted.encode(document.text).ids, minlength=len(counts))
    surprise = np.log(counts.sum()) - np.log(counts)
    unigram = sum(surprise[ids].sum() for ids in encoded) / math.log(2) / sum(sizes)
    interval = bits_per_byte_interval(score.document_nats, score.document_bytes)
    assert interval is not None
    assert interval[0] < score.bits_per_byte < interval[1] < unigram
    # A 135M model of English is near one bit a byte; a wrong tokenizer or layout is far above.
    assert 0.4 < score.bits_per_byte < 1.3


def test_it_is_exported_and_comes_back(tmp_path: Path) -> None:
    assert FOLDER is not None
    smol("export", "smollm2", str(tmp_path / "out"))
    again, first = (from_transformers(folder) for folder in (tmp_path / "out", FOLDER))
    for (name, ours), theirs in zip(again.named_parameters(), first.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    assert model.generation_config.eos_token_id == 2
