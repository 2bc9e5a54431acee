"""The special tokens of a model's folder: what begins and ends its texts and its turns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError
from harness.files import read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TURN = "<|im_end|>"


def end_of_turn(folder: Path, fitted: Tokenizer) -> int | None:
    """What the template of a tokenizer's folder ends turns with; without one, ChatML's."""
    from harness.data.chat import ChatFormat

    try:
        return ChatFormat(folder).end_of_turn
    except RequestError:
        token: int | None = fitted.token_to_id(END_OF_TURN)
        return token


def check_tokens(folder: Path, tokens: dict[str, Any], vocabulary: int) -> None:
    """Raises RequestError for an id that the model has no row for."""
    for role, ids in tokens.items():
        for token in ids if isinstance(ids, list) else [ids]:
            if not isinstance(token, int) or not 0 <= token < vocabulary:
                raise RequestError(
                    f"{folder}: {role} {token} is no token of the model, which has {vocabulary:,}"
                )


def generation_tokens(folder: Path) -> dict[str, Any]:
    """From generation_config.json or, only where there is none, config.json: as transformers."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    for file in ("generation_config.json", "config.json"):
        try:
            content = read_json(folder / file)
            known = {n: content[n] for n in names if content.get(n) is not None}
        except (OSError, ValueError, AttributeError):
            continue
        return known
    return {}


ALIKE: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (1.0, None), "encoder_repetition_penalty": (1.0, None),
    "no_repeat_ngram_size": (0, None), "num_beams": (1, None), "num_beam_groups": (1, None),
    "min_length": (0, None), "min_new_tokens": (0, None), "guidance_scale": (1.0, None),
    **dict.fromkeys(
        ("bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id",
         "forced_eos_token_id", "sequence_bias", "exponential_decay_length_penalty",
         "stop_strings", "watermarking_config", "penalty_alpha"), (None, [], {}),
    ),
}  # fmt: skip
"""Settings of generation_config.json that change which tokens transformers takes, also greedily ->
the values with which they do not."""


def other_tokens(folder: Path) -> str | None:
    """Why transformers would take other tokens of a folder's model; None where it would not."""
    path = folder / "generation_config.json"
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    for name, alike in ALIKE.items() if isinstance(content, dict) else ():
        if (value := content.get(name)) not in alike:
            return (
                f"{path} sets {name} to {value!r}, which is not followed here: take it out, or "
                f"make it {alike[0]!r}, to generate without it"
            )
    return None
