"""The token that separates texts: `<|endoftext|>`, else what a tokenizer names as its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from harness.data.tokenizer import PLAIN, load, said_in
from harness.data.tokens import END_OF_TEXT
from harness.errors import RequestError

ROLES = ("bos_token", "eos_token", "pad_token")


FILES = ("tokenizer_config.json", "special_tokens_map.json")


def said_by(config: dict[str, Any], older: dict[str, Any]) -> dict[str, Any]:
    """What transformers reads of both files: the older one stands above the newer, unless that has
    the tokens' own table."""
    return config if "added_tokens_decoder" in config else config | older


def names(folder: Path) -> dict[str, str]:
    """Role -> special token: as the tokenizer's files say, or the class that is named there has it
    by itself, of which transformers is asked."""
    content = said_by(*(said_in(folder, file) for file in FILES))
    found = {role: content[role] for role in ROLES if role in content}
    named = content.get("tokenizer_class") or said_in(folder, "config.json").get("model_type")
    if named not in (*PLAIN, None) and not found.keys() >= {"bos_token", "eos_token"}:
        found = _by_class(folder) | found
    plain = {r: v.get("content") if isinstance(v, dict) else v for r, v in found.items()}
    return {role: name for role, name in plain.items() if isinstance(name, str)}


def _by_class(folder: Path) -> dict[str, Any]:
    from transformers import AutoTokenizer

    try:
        made = AutoTokenizer.from_pretrained(folder)
    except Exception:  # whatever it meets in a user's files; what is needed is refused by its name
        return {}
    return {role: getattr(made, role, None) for role in ROLES}


def of_text(folder: Path, tokenizer: Tokenizer | None = None) -> int | None:
    """The id of the token that ends a text of a folder's tokenizer; None where it has none."""
    fitted = tokenizer or load(folder)
    said = names(folder)
    known = (END_OF_TEXT, said.get("eos_token", ""), said.get("pad_token", ""))
    return next((token for n in known if (token := fitted.token_to_id(n)) is not None), None)


def separator(folder: Path) -> int:
    """The same. Raises RequestError where it has none."""
    token = of_text(folder)
    if token is None:
        raise RequestError(
            f"the tokenizer of {folder} has no {END_OF_TEXT}, and its tokenizer_config.json names "
            "no eos_token or pad_token that it has: one of them must stand between texts"
        )
    return token
