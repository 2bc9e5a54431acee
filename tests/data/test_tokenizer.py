import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from harness.data import tokenizer
from harness.errors import RequestError

from .conftest import texts

CORPUS = [
    *texts(200, seed=3),
    "def f(x):\n    return x ** 2 + 10\n" * 5,
    "naïve café 12345 🙂 " * 5,
]
FITTED = tokenizer.fit(CORPUS, 380)
SIZES = tokenizer.token_bytes(FITTED)

any_text = st.lists(
    st.one_of(
        st.text(max_size=20), st.sampled_from(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    )
).map("".join)  # surrogates are not in st.text()'s default alphabet


@settings(max_examples=300, deadline=None)
@given(any_text)
def test_every_text_comes_back_and_its_bytes_add_up(text: str) -> None:
    (ids,) = tokenizer.encode(FITTED, [text])
    assert ids[-1] == 0
    assert FITTED.decode(ids[:-1].tolist(), skip_special_tokens=False) == text
    # Special tokens' names in text are text: no special id inside.
    assert not np.isin(ids[:-1], [0, 1, 2]).any()
    assert SIZES[ids].sum() == len(text.encode())


def test_specials_first_and_the_vocabulary_as_asked() -> None:
    assert [FITTED.id_to_token(i) for i in range(3)] == [
        "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    ]  # fmt: skip
    assert FITTED.get_vocab_size() == len(SIZES) == 380
    assert SIZES[:3].tolist() == [0, 0, 0]
    assert (SIZES[3:] > 0).all()


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(RequestError, match=r"data\.vocab_size must be at least 259"):
        tokenizer.fit(["text"], 258)


def test_the_same_file_whatever_the_threads() -> None:
    program = (
        "from harness.data import tokenizer\n"
        "from tests.data.conftest import texts\n"
        "fitted = tokenizer.fit(texts(2000, seed=5), 600)\n"
        "import hashlib; print(hashlib.sha256(fitted.to_str().encode()).hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "5")
    }
    assert len(digests) == 1


def test_transformers_loads_the_folder(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(FITTED, tmp_path, seq_len=64)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "maple 12 naïve\n  river 🙂"
    (ours,) = tokenizer.encode(FITTED, [text])
    assert theirs(text)["input_ids"] == ours[:-1].tolist()
    assert theirs.decode(ours[:-1]) == text
    assert (theirs.eos_token_id, theirs.model_max_length) == (0, 64)
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    assert theirs.apply_chat_template(turns, tokenize=False) == (
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"
    )
    ids = theirs.apply_chat_template(turns[:1], add_generation_prompt=True)["input_ids"]
    assert ids.count(1) == 2
    assert ids.count(2) == 1
    # And ours, from the folder, treats the markers as text.
    again = tokenizer.load(tmp_path)
    assert isinstance(again, Tokenizer)
    (marked,) = tokenizer.encode(again, ["<|im_end|>"])
    assert 2 not in marked


def test_a_broken_tokenizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no tokenizer\.json"):
        tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(RequestError, match="is not a tokenizer"):
        tokenizer.load(tmp_path)
