"""Conversations of a data set's rows: the forms in which they are written, what counts as one, and
why a row is none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.chat import ROLES, Message
from harness.data.left_out import Refused, text_fault
from harness.errors import RequestError

FORMS = (
    "messages", "conversations", "conversation", "prompt+completion", "prompt+response",
    "instruction+input+output", "instruction+output", "instruction+response", "question+answer",
)  # fmt: skip
"""The columns that hold a conversation: a list of messages (`role` and `content`, or ShareGPT's
`from` and `value`), or what is asked (Alpaca's with an input, which may be missing) and what is
answered."""
_OPTIONAL = ("input",)
_SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
"""ShareGPT's names; others are as they are."""


def form_of(columns: Sequence[str]) -> str:
    """The form of a data set's conversations, by its columns. Raises RequestError for none."""
    for form in FORMS:
        if all(name in columns for name in form.split("+") if name not in _OPTIONAL):
            return form
    raise RequestError(
        f"no conversations in the columns {', '.join(columns) or '(none)'}: known are "
        f"{', '.join(FORMS)}; --column names another column of messages"
    )


@dataclass(frozen=True)
class Talk:
    """A conversation, and the unit that it may not be split from."""

    unit: str
    messages: tuple[Message, ...]


def talk(messages: Any, unit: str | None = None) -> Talk | Refused:
    """A conversation from a row of a data set, or why it is none. Contents that are given as parts
    of text are joined, as chat templates do it.

    Its unit is what the user first says, so that answers to one question stay on one side.
    """
    if isinstance(messages, dict):
        messages = _asked_and_answered(messages)
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        return Refused("no list of messages", type(messages).__name__)
    plain = []
    for message in messages:
        if not isinstance(message, dict):
            return Refused("messages that are no objects", type(message).__name__)
        role, content = _said(message)
        if role not in ROLES:
            return Refused("with a role that is not read", repr(role), selection=True)
        if content is None:
            return Refused("without a content", f"of the {role}")
        if fault := text_fault(content):
            return Refused(f"a content that is {fault}", f"of the {role}")
        plain.append({"role": role, "content": content})
    first = next((m["content"] for m in plain if m["role"] == "user"), "")
    name = unit or "talk:" + hashlib.sha256(" ".join(first.split()).lower().encode()).hexdigest()
    return Talk(name, tuple(plain))


def _asked_and_answered(row: dict[str, Any]) -> list[Any]:
    """Of a row with a column (or two) that asks and one that answers, in this order."""
    *asked, answer = row.values()
    question = asked[0]
    if len(asked) > 1 and isinstance(asked[1], str) and asked[1].strip():
        question = f"{question}\n\n{asked[1]}"
    turns: list[Any] = []
    for role, said in (("user", question), ("assistant", answer)):
        is_turns = isinstance(said, Sequence) and not isinstance(said, str)
        turns += said if is_turns else [{"role": role, "content": said}]
    return turns


def _said(message: dict[str, Any]) -> tuple[Any, Any]:
    """(role, content) of a message, in either form."""
    if "from" in message and "role" not in message:
        speaker = message["from"]
        return _SPEAKERS.get(speaker, speaker), message.get("value")
    return message.get("role"), _joined(message.get("content"))


def _joined(content: Any) -> Any:
    """`[{"type": "text", "text": ...}, ...]` as one text; anything else as it is."""
    if not isinstance(content, Sequence) or isinstance(content, str) or not content:
        return content
    texts = [
        part["text"]
        for part in content
        if isinstance(part, dict)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    ]
    return "".join(texts) if len(texts) == len(content) else content
