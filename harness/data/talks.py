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
_BESIDE = ("system", "system_prompt", "tools", "history")
"""Columns that say more of a conversation, where a data set has them: a system turn, functions that
the model may call, exchanges before (Alpaca's pairs)."""
_SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
"""ShareGPT's names; others are as they are."""


def form_of(columns: Sequence[str]) -> str:
    """The form of a data set's conversations, by its columns. Raises RequestError for none."""
    for form in FORMS:
        if all(name in columns for name in form.split("+") if name not in _OPTIONAL):
            beside = [name for name in _BESIDE if name in columns and name not in form.split("+")]
            return "+".join([form, *beside])
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
    opening: list[Any] = []
    if isinstance(messages, dict):
        row = dict(messages)
        beside = {name: row.pop(name) for name in _BESIDE if name in row}
        if not _empty(beside.get("tools")):
            return Refused("with tools, which are not read", selection=True)
        opening = _before(beside)
        messages = next(iter(row.values())) if len(row) == 1 else _asked_and_answered(row)
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        return Refused("no list of messages", type(messages).__name__)
    if opening and isinstance(messages[0], dict) and _said(messages[0])[0] == "system":
        opening = [turn for turn in opening if turn["role"] != "system"]
    messages = [*opening, *messages]
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
        if not _empty(message.get("tool_calls")):
            return Refused("with tool calls, which are not read", selection=True)
        if role == "assistant" and (message.get("weight") == 0 or message.get("train") is False):
            return Refused("with an answer that is not to be learnt", selection=True)
        turn = {"role": role, "content": content}
        reasoning = next((message[k] for k in _REASONING if not _empty(message.get(k))), None)
        if reasoning is not None:
            if text_fault(reasoning):
                return Refused(f"reasoning that is {text_fault(reasoning)}", f"of the {role}")
            turn["reasoning_content"] = reasoning
        plain.append(turn)
    first = next((m["content"] for m in plain if m["role"] == "user"), "")
    name = unit or "talk:" + hashlib.sha256(" ".join(first.split()).lower().encode()).hexdigest()
    return Talk(name, tuple(plain))


_REASONING = ("reasoning_content", "thinking", "reasoning")


def _empty(value: Any) -> bool:
    """Whether a field says nothing: missing, null, an empty text or list (also as JSON)."""
    return value is None or (isinstance(value, str | Sequence) and str(value).strip() in ("", "[]"))


def _before(beside: dict[str, Any]) -> list[dict[str, Any]]:
    """The turns that the columns beside a conversation stand for."""
    system = next(
        (beside[k] for k in ("system", "system_prompt") if not _empty(beside.get(k))), None
    )
    turns = [] if system is None else [{"role": "system", "content": system}]
    for pair in beside.get("history") or ():
        roles = ("user", "assistant")
        turns += [{"role": r, "content": c} for r, c in zip(roles, pair, strict=False)]
    return turns


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
