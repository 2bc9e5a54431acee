"""A tokenizer that is given rather than fitted: SmolLM2's, or that of any folder.

Only byte-level BPE is taken: bits per byte need to know how many bytes each token stands for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from harness.data.pieces import alphabet
from harness.data.template import settle
from harness.data.tokenizer import load
from harness.data.tokens import END_OF_TEXT
from harness.errors import RequestError

SMOLLM2 = "smollm2"
FILES = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json",
)  # fmt: skip


def find(chosen: str, progress: Callable[[str], None]) -> Path:
    """The folder of a tokenizer: `smollm2`, fetched where it is missing, or a folder's path.

    Raises RequestError.
    """
    if chosen == SMOLLM2:
        from harness.data import assets

        return assets.find_smollm2() or assets.fetch_smollm2(progress)
    folder = Path(chosen).expanduser()
    if not (folder / "tokenizer.json").is_file():
        raise RequestError(
            f"--tokenizer '{chosen}' is neither '{SMOLLM2}' nor a folder with a tokenizer.json"
        )
    return folder


def install(source: Path, folder: Path) -> np.ndarray:
    """Copy the tokenizer's files and write `token_bytes.npy`; returns that array.

    Raises RequestError for a tokenizer that is not byte-level BPE with an end-of-text token.
    """
    sizes = token_bytes(load(source), source)
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    settle(source, folder)
    np.save(folder / "token_bytes.npy", sizes)
    return sizes


def token_bytes(tokenizer: Tokenizer, source: Path) -> np.ndarray:
    """(vocabulary,) int32: UTF-8 bytes of each token; 0 for special tokens. Raises RequestError."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if END_OF_TEXT not in vocabulary:
        raise RequestError(f"the tokenizer of {source} has no {END_OF_TEXT}")
    added = tokenizer.get_added_tokens_decoder()
    known = alphabet()
    sizes = np.zeros(max(vocabulary.values()) + 1, dtype=np.int32)
    for name, token in vocabulary.items():
        if token in added:
            sizes[token] = 0 if added[token].special else len(name.encode())
        elif all(character in known for character in name):
            sizes[token] = len(name)
        else:
            raise RequestError(f"the tokenizer of {source} is not byte-level BPE: token {name!r}")
    return sizes
