"""Tokens as text, one by one as they come: a character cut in two by the tokenizer waits.

For byte-level BPE, whose tokens are bytes written in an alphabet of printable characters.
"""

from __future__ import annotations

import codecs
from functools import cache

from tokenizers import Tokenizer


@cache
def alphabet() -> dict[str, int]:
    """Character -> byte: printable Latin-1 stands for itself, the other bytes, in order, for the
    characters from U+0100 on (the byte-level BPE of GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + i): byte for i, byte in enumerate(others)
    }


class Pieces:
    """Decodes a stream of tokens into text that never holds half a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Special tokens of the tokenizer stand for no text."""
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._silent = {i for i, token in added.items() if token.special}
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that this token completes; empty while a character is open."""
        if token in self._silent:
            return ""
        name = self._tokenizer.id_to_token(token)
        if name is None:  # a model may have more rows than its tokenizer has tokens
            return "\N{REPLACEMENT CHARACTER}"
        known = alphabet()
        return self._decoder.decode(bytes(known[character] for character in name))

    def end(self) -> str:
        """What is left: a replacement character where the last one stayed open."""
        return self._decoder.decode(b"", final=True)
