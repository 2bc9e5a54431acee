"""The byte-level BPE: fitting, saving, loading, and how many bytes each token stands for.

Deterministic: the same texts in the same order give the same file. The folder it writes is one
that transformers' AutoTokenizer loads; transformers is imported only for a folder that names a
class of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from harness.data.tokens import END_OF_TEXT, SPECIAL_TOKENS
from harness.errors import RequestError
from harness.files import read_json

SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML: each turn between its markers, one line break after each."""

_BATCH = 64
_CHARACTERS = 2**20


def fit(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A BPE over bytes with the special tokens first; digits stand alone, as in SmolLM2's.

    Raises RequestError for a vocabulary that cannot hold all bytes.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise RequestError(
            f"data.vocab_size must be at least {SMALLEST_VOCABULARY} (256 bytes and "
            f"{len(SPECIAL_TOKENS)} special tokens), not {vocab_size}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, seq_len: int) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `token_bytes.npy`."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "additional_special_tokens": [t for t in SPECIAL_TOKENS if t != END_OF_TEXT],
        "clean_up_tokenization_spaces": False,
        "model_max_length": seq_len,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    np.save(folder / "token_bytes.npy", token_bytes(tokenizer))


def load(folder: Path) -> Tokenizer:
    """The tokenizer of a prepared folder, for text: special tokens' names are ordinary text, and
    nothing is cut off or filled up, whatever its file asks for.

    Raises RequestError when there is none or it cannot be read.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise RequestError(f"no tokenizer.json in {folder}")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise RequestError(f"{path} is not a tokenizer ({error})") from None
    config = _class_of(folder)
    if (config and not _is_its_file(config, tokenizer)) or _named_beside(folder, tokenizer):
        named = config.get("tokenizer_class", "tokenizer")
        changed = tuple(f.stat().st_mtime_ns for name in READ if (f := folder / name).is_file())
        tokenizer = Tokenizer.from_str(_as_transformers(folder, named, changed))
    tokenizer.no_truncation()  # as transformers does it: these are settings of one call
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


PLAIN = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""The classes of transformers that take tokenizer.json as it is; so is a folder without one."""


READ = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""The files that say which tokens there are: the last three may add some to those of the first."""


def said_in(folder: Path, name: str) -> dict[str, Any]:
    """The object in a file of a tokenizer's folder; empty where there is none."""
    try:
        content = read_json(folder / name)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _class_of(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, where it names a class of transformers that may read the file its own
    way; else empty."""
    config = said_in(folder, READ[1])
    named = config.get("tokenizer_class")
    return config if isinstance(named, str) and named not in PLAIN else {}


def _named_beside(folder: Path, tokenizer: Tokenizer) -> bool:
    """Whether a file beside tokenizer.json names a token that this does not have as an added one,
    or has otherwise: transformers adds it."""
    config, older, oldest = (said_in(folder, name) for name in READ[1:])
    known = tokenizer.get_added_tokens_decoder()
    named: list[Any] = [*oldest]
    for content in (config, older):
        named += [v for k, v in content.items() if k.endswith("_token") and not k.startswith("add")]
        for several in ("additional_special_tokens", "extra_special_tokens"):
            more = content.get(several) or []
            named += more.values() if isinstance(more, dict) else more
    there = {token.content for token in known.values()}
    plain = (one.get("content") if isinstance(one, dict) else one for one in named)
    if not there >= {name for name in plain if isinstance(name, str)}:
        return True
    table = config.get("added_tokens_decoder") or {}
    try:
        given = {int(i): AddedToken(**token) for i, token in table.items()}
    except (AttributeError, TypeError, ValueError):
        return True  # transformers will say what it makes of that
    return any(known.get(i) != token for i, token in given.items())


def splits_special(folder: Path) -> bool:
    """Whether the names of special tokens in a text are ordinary text to transformers, too."""
    return bool(said_in(folder, READ[1]).get("split_special_tokens"))


def _is_its_file(config: dict[str, Any], tokenizer: Tokenizer) -> bool:
    """Whether GPT-2's class makes what the file says: of byte-level BPE without a space in front
    it does, and SmolLM2 names it; asking it would take seconds."""
    stored = json.dumps(json.loads(tokenizer.to_str())["pre_tokenizer"])
    return (
        config["tokenizer_class"] in ("GPT2Tokenizer", "GPT2TokenizerFast")
        and isinstance(tokenizer.decoder, decoders.ByteLevel)
        and not config.get("add_prefix_space")
        and '"add_prefix_space": true' not in stored
    )


@lru_cache(maxsize=8)
def _as_transformers(folder: Path, named: str, changed: tuple[int, ...]) -> str:
    """The tokenizer that the class named in tokenizer_config.json makes of the folder: it may build
    normalizer and first tokens anew. Raises RequestError."""
    from transformers import AutoTokenizer

    try:
        made = AutoTokenizer.from_pretrained(folder).backend_tokenizer
        made.encode("é 1\n")  # some cannot take any text: a token that they need is not there
        return str(made.to_str())
    except Exception as error:  # whatever it meets in a user's files
        raise RequestError(
            f"{folder}: transformers cannot make the {named} of tokenizer_config.json "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        ) from None


def token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """(vocabulary,) int32: UTF-8 bytes of each token; 0 for special tokens.

    Exact: byte-level BPE writes each byte as one character of its alphabet, so a token has as
    many bytes as its name has characters.
    """
    vocabulary = tokenizer.get_vocab()
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    return np.array([0 if n in SPECIAL_TOKENS else len(n) for n in names], dtype=np.int32)


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Texts by the batch: not many, nor many characters, since an encoding takes a hundred times
    as many bytes as its text."""
    batch: list[str] = []
    held = 0
    for text in texts:
        if batch and (len(batch) == _BATCH or held + len(text) > _CHARACTERS):
            yield batch
            batch, held = [], 0
        batch.append(text)
        held += len(text)
    if batch:
        yield batch


def encode_flat(
    tokenizer: Tokenizer, texts: Sequence[str], last: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same as `encode`, all in a row: (tokens,) int32, and where each text ends, int64; token
    `last` stands behind each."""
    end = [last]
    parts, ends, before = [np.empty(0, np.int32)], [], 0
    for batch in _batches(texts):
        ids: list[int] = []
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            ids += encoding.ids
            ids += end
            ends.append(before + len(ids))
        parts.append(np.array(ids, dtype=np.int32))  # a list takes ten times as much
        before += len(ids)
    return np.concatenate(parts), np.array(ends, dtype=np.int64)


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[np.ndarray]:
    """Each text's token ids, int32, with the end-of-text token after them; lazily, in batches."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    for batch in _batches(texts):
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            yield np.array([*encoding.ids, end], dtype=np.int32)
