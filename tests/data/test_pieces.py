"""Text from tokens, one by one."""

from __future__ import annotations

from harness.data import tokenizer
from harness.data.pieces import Pieces
from harness.data.tokens import END_OF_TEXT

TEXTS = ["plain", "naïve café", "日本語のテキスト", "emoji 🙂🙂 and ‱", "\x00\x7f\x80 ­"]


def test_whatever_the_tokens_are_cut_at_no_character_is_broken() -> None:
    fitted = tokenizer.fit(["only ascii to merge, so that others are bytes"], 300)
    for text in TEXTS:
        ids = fitted.encode(text).ids
        assert len(ids) > 1
        pieces = Pieces(fitted)
        said = [pieces.push(token) for token in ids]
        assert "".join(said) + pieces.end() == text
        assert all("�" not in part for part in said)


def test_special_tokens_are_silent_and_an_open_character_shows() -> None:
    fitted = tokenizer.fit(["text"], 300)
    pieces = Pieces(fitted)
    assert pieces.push(fitted.token_to_id(END_OF_TEXT)) == ""
    first, *_ = fitted.encode("é").ids
    assert pieces.push(first) == ""
    assert pieces.end() == "�"
