"""The special tokens of every tokenizer that is fitted here, as SmolLM2 names them."""

from __future__ import annotations

END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>")
"""Ids 0, 1, 2: the end of a document, and a chat turn's borders."""
