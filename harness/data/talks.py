"""Conversations of a data set's rows: what counts as one, and why a row is none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.chat import ROLES, Message
from harness.data.left_out import Refused, text_fault


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
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        return Refused("no list of messages", type(messages).__name__)
    plain = []
    for message in messages:
        if not isinstance(message, dict):
            return Refused("messages that are no objects", type(message).__name__)
        role, content = message.get("role"), _joined(message.get("content"))
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
