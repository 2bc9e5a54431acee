"""The released SmolLM2-135M-Instruct weights in our model, against transformers.

Wants the weights that `smol fetch smollm2` brings into the user's cache, or `SMOLLM2_FOLDER`, a
folder with them and their tokenizer as transformers saves them.
"""

import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.data.assets import find_smollm2
from models.config import total_parameters
from models.generate import generate
from models.hf import from_transformers, to_transformers

# Looked up now: the tests' own cache takes the place of the user's when they begin.
FOLDER = os.environ.get("SMOLLM2_FOLDER") or find_smollm2()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOLDER is None, reason="no real weights: `smol fetch smollm2`"),
]

QUESTIONS = [
    "What is the capital of France?",
    "Name three colours.",
    "What is 2 + 2?",
    "Write a haiku about the sea.",
    "Who wrote Hamlet?",
    "Explain gravity to a child.",
    "What do bees make?",
    "Translate 'good morning' into Spanish.",
    "How many days are in a week?",
    "What is the largest planet?",
    "Give me a recipe for pancakes.",
    "Why is the sky blue?",
    "What is a prime number?",
    "Name a famous painter.",
    "How do I boil an egg?",
    "What is photosynthesis?",
    "Tell me a short joke.",
    "What is the opposite of hot?",
    "Define the word 'brave'.",
    "Which animal says 'moo'?",
]


@pytest.fixture(scope="module")
def ours():
    return from_transformers(Path(FOLDER), torch.float32).eval()


@pytest.fixture(scope="module")
def theirs():
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


def prompt(tokenizer, question):
    messages = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )["input_ids"]


def test_logits_equal_transformers(ours, theirs, tokenizer):
    assert total_parameters(ours.config) == 134_515_008
    with torch.no_grad():
        for question in QUESTIONS[:5]:
            inputs = prompt(tokenizer, question)
            # The project's contract for fp32.
            difference = (ours(inputs) - theirs(input_ids=inputs).logits).abs().max()
            assert difference < 1e-4


def test_greedy_decoding_names_paris_with_and_without_cache(ours, tokenizer):
    ids = prompt(tokenizer, QUESTIONS[0])[0].tolist()
    stop = {tokenizer.eos_token_id}
    cached, plain = (
        list(generate(ours, ids, 24, stop_tokens=stop, cached=cached)) for cached in (True, False)
    )
    assert cached == plain
    assert "Paris" in tokenizer.decode(cached)
    assert cached[-1] in stop


def test_greedy_decoding_equals_transformers_for_twenty_prompts(ours, theirs, tokenizer):
    stop = tokenizer.eos_token_id
    for question in QUESTIONS:
        inputs = prompt(tokenizer, question)
        expected = theirs.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            do_sample=False,
            max_new_tokens=24,
            eos_token_id=stop,
            repetition_penalty=1.0,
        )[0].tolist()
        ids = inputs[0].tolist()
        assert ids + list(generate(ours, ids, 24, stop_tokens={stop})) == expected, question


def test_there_and_back_bit_for_bit(ours, theirs, tmp_path):
    to_transformers(ours, tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    for (name, a), b in zip(again.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b), name
