"""A tokenizer that is given rather than fitted: SmolLM2's, or that of any folder.

Taken is what loses no byte of a text, since bits per byte need to know how many bytes each token
stands for: byte-level BPE, and sentencepiece with a token for each byte.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from harness.data.pieces import alphabet
from harness.data.template import settle
from harness.data.tokenizer import READ, load
from harness.errors import RequestError

SMOLLM2 = "smollm2"
FILES = (*READ, "chat_template.jinja")


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

    Raises RequestError for a tokenizer of which the bytes of a token are not known.
    """
    sizes = token_bytes(load(source), source)
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    settle(source, folder)
    np.save(folder / "token_bytes.npy", sizes)
    return sizes


_BYTE = re.compile("<0x[0-9A-F]{2}>")
"""How sentencepiece names the token of a byte; `▁` stands for a space in the others."""


def token_bytes(tokenizer: Tokenizer, source: Path) -> np.ndarray:
    """(vocabulary,) int32: UTF-8 bytes of each token; 0 for special tokens. Raises RequestError."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    added = tokenizer.get_added_tokens_decoder()
    known = alphabet()
    pieces = all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
    sizes = np.zeros(max(vocabulary.values()) + 1, dtype=np.int32)
    for name, token in vocabulary.items():
        if pieces and _BYTE.fullmatch(name):
            sizes[token] = 1
        elif token in added:
            sizes[token] = 0 if added[token].special else len(name.encode())
        elif pieces:
            sizes[token] = len(name.replace("▁", " ").encode())
        elif all(character in known for character in name):
            sizes[token] = len(name)
        else:
            raise RequestError(
                f"the tokenizer of {source} is neither byte-level BPE nor sentencepiece with all "
                f"bytes: token {name!r} may stand for several texts"
            )
    return sizes
