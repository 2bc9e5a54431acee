"""Tokens as text, one by one as they come: a character cut in two by the tokenizer waits.

Byte-level BPE writes bytes in an alphabet of printable characters; what was added to its vocabulary
is literal text. Any other tokenizer's own decoder is asked.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from functools import cache

from tokenizers import Tokenizer, decoders

BROKEN = "\N{REPLACEMENT CHARACTER}"


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

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        """Special tokens of the tokenizer stand for no text. `before` are the tokens that the
        stream continues: some decoders take a space away where a text begins."""
        added = tokenizer.get_added_tokens_decoder()
        silent = {i for i, token in added.items() if token.special}
        literal = {i: token.content for i, token in added.items() if not token.special}
        self._way: _Bytes | _Decoder
        if isinstance(tokenizer.decoder, decoders.ByteLevel):
            self._way = _Bytes(tokenizer, silent, literal)
        else:
            self._way = _Decoder(tokenizer, before)

    def push(self, token: int) -> str:
        """The text that this token completes; empty while a character is open."""
        return self._way.push(token)

    def end(self) -> str:
        """What is left: a replacement character where the last one stayed open."""
        return self._way.end()


class _Bytes:
    """Byte-level BPE, byte by byte. The library's own decoder reads added tokens in the alphabet,
    too, and breaks those whose characters stand in it (`đ`)."""

    def __init__(self, tokenizer: Tokenizer, silent: set[int], literal: dict[int, str]) -> None:
        self._tokenizer, self._silent, self._literal = tokenizer, silent, literal
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        if token in self._silent:
            return ""
        if (text := self._literal.get(token)) is not None:
            return self._decoder.decode(text.encode())
        name = self._tokenizer.id_to_token(token)
        if name is None:  # a model may have more rows than its tokenizer has tokens
            return BROKEN
        known = alphabet()
        if all(character in known for character in name):
            return self._decoder.decode(bytes(known[character] for character in name))
        return self._decoder.decode(name.encode())

    def end(self) -> str:
        return self._decoder.decode(b"", final=True)


class _Decoder:
    """A tokenizer's own decoder on all tokens so far; what it adds to the text before is new."""

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int]) -> None:
        self._tokenizer, self._ids = tokenizer, list(before)
        self._said = len(self._text())

    def push(self, token: int) -> str:
        self._ids.append(token)
        text = self._text()
        return "" if text.endswith(BROKEN) else self._new(text)

    def end(self) -> str:
        return self._new(self._text())

    def _new(self, text: str) -> str:
        new, self._said = text[self._said :], max(self._said, len(text))
        return new

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=True))
