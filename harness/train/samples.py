"""What a model answers to a stage's prompts, greedily: kept in the record before and after it.

Fixed prompts and no randomness: two answers differ because the weights do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.data import tokenizer as tokenizers
from harness.data.chat import END_OF_TURN, ChatFormat
from harness.data.pieces import Pieces
from harness.data.tokens import END_OF_TEXT
from harness.records.schema import Answer
from models.generate import generate
from models.lm import LanguageModel

MOST_TOKENS = 48


def answer(
    model: LanguageModel, prompts: Sequence[str], tokenizer: Path, *, chat: bool
) -> tuple[Answer, ...]:
    """One answer a prompt, of at most MOST_TOKENS tokens: as the assistant's turn in ChatML where
    `chat`, else as the text's continuation. `tokenizer` is a folder with its files.

    Raises RequestError for a tokenizer that has no such tokens.
    """
    spoken = tokenizers.load(tokenizer)
    format_ = ChatFormat(tokenizer) if chat else None
    known = (spoken.token_to_id(name) for name in (END_OF_TEXT, END_OF_TURN))
    stops = {token for token in known if token is not None}
    if format_ is not None:
        stops.add(format_.end_of_turn)
    answers = []
    for prompt in prompts:
        if format_ is not None:
            ids = format_.prompt([{"role": "user", "content": prompt}])
        else:
            ids = spoken.encode(prompt, add_special_tokens=False).ids
        room = model.config.max_seq_len - len(ids)
        new = list(generate(model, ids, min(MOST_TOKENS, room), stop_tokens=stops))
        ended = new[-1] in stops
        pieces = Pieces(spoken)
        text = "".join(pieces.push(token) for token in (new[:-1] if ended else new)) + pieces.end()
        answers.append(Answer(prompt=prompt, text=text, tokens=len(new), ended=ended))
    return tuple(answers)
