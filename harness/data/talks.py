"""Conversations of a data set's rows: the forms in which they are written, what counts as one, and
why a row is none."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.data.chat import CALLS, ROLES, TOOL_ROLES, Message
from harness.data.left_out import Refused, text_fault
from harness.errors import RequestError

FORMS = (
    "messages", "conversations", "conversation", "prompt+completion", "prompt+response",
    "instruction+input+output", "instruction+context+response", "instruction+output",
    "instruction+response", "question+context+answer", "question+answer", "question+response",
    "input+output",
)  # fmt: skip
"""The columns that hold a conversation: a list of messages (`role` and `content`, or ShareGPT's
`from` and `value`), or what is asked (Alpaca's with an input, which may be missing) and what is
answered."""
_OPTIONAL = {"instruction+input+output": "input"}
_UNREAD = {
    "functions": "functions", "images": "images", "image": "images", "videos": "videos",
    "video": "videos", "audios": "sound", "audio": "sound",
}  # fmt: skip
"""Columns, and fields of a message, without which the words are another thing -> what they hold."""
_NOT_LEARNT = "with an answer that is not to be learnt"
_SYSTEM = ("system", "system_prompt", "system_message")
_GIVEN = ("tools", "documents", "chat_template_kwargs")
"""Columns that a chat template is given beside the messages, as transformers does it."""
_BESIDE = (*_SYSTEM, "history", *_UNREAD, *_GIVEN, "weight", "label")
"""Columns that say more of a conversation, where a data set has them: a system turn, exchanges
before (Alpaca's pairs), what is not read, how much it counts, whether it is a good one (TRL's)."""
_SPEAKERS = {
    "human": "user",
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "ai"), "assistant"),
}
"""ShareGPT's names, and Gemma's; others are as they are."""
_SAID_AS = {
    **dict.fromkeys(("weight", "loss_weight"), False),
    **dict.fromkeys(("train", "training", "trainable", "loss", "learn"), False),
    **dict.fromkeys(("mask", "masked"), True),
}
"""Fields of an answer that say whether it is learnt -> the value that says no."""


def form_of(columns: Sequence[str]) -> str:
    """The form of a data set's conversations, by its columns. Raises RequestError for none."""
    for form in FORMS:
        if all(name in columns for name in form.split("+") if name != _OPTIONAL.get(form)):
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
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the template is given beside them: `tools`, `documents`, settings of its own."""


def talk(messages: Any, unit: str | None = None) -> Talk | Refused:
    """A conversation from a row of a data set, or why it is none. Contents that are given as parts
    of text are joined, as chat templates do it.

    Its unit is what the user first says, so that answers to one question stay on one side.
    """
    opening: list[Any] = []
    given: dict[str, Any] = {}
    if isinstance(messages, dict):
        row = dict(messages)
        beside = {name: row.pop(name) for name in _BESIDE if name in row}
        if unread := _unread(beside) or _weighed(beside):
            return unread
        if beside.get("label") is False:
            return Refused("labelled as no good answer", selection=True)
        before, found = _before(beside), _given(beside)
        if isinstance(before, Refused):
            return before
        if isinstance(found, Refused):
            return found
        opening, given = before, found
        messages = next(iter(row.values())) if len(row) == 1 else _asked_and_answered(row)
        if isinstance(messages, Refused):
            return messages
    messages = _parsed(messages)
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        no_json = " that is no JSON" if _is_text(messages) else ""
        return Refused("no list of messages", type(messages).__name__ + no_json)
    if opening and isinstance(messages[0], dict) and _said(messages[0])[0] == "system":
        opening = [turn for turn in opening if turn["role"] != "system"]
    messages = [*opening, *messages]
    plain = []
    for message in messages:
        if not isinstance(message, dict):
            return Refused("messages that are no objects", type(message).__name__)
        role, content = _said(message)
        if role not in (*ROLES, *TOOL_ROLES):
            return Refused("with a role that is not read", repr(role), selection=True)
        calls = any(not _empty(message.get(name)) for name in CALLS)
        if content is None and not calls:
            return Refused("without a content", f"of the {role}")
        if fault := text_fault(content):
            return Refused(f"a content that is {fault}", f"of the {role}")
        if unread := _unread(message):
            return unread
        if held := [name for name in _GIVEN if not _empty(message.get(name))]:
            return Refused(f"with {held[0]} in a message, which are not read", selection=True)
        if role == "assistant" and (unlearnt := _weighed(message)):
            return unlearnt
        turn = {"role": role, "content": content, **_more(message)}
        if content is None and not {"content", "value"} & message.keys():
            del turn["content"]  # to a template, nothing is not the same as null
        if calls and not isinstance(turn.get("tool_calls", []), Sequence):
            return Refused("tool calls that are no list", f"of the {role}")
        reasoning = next((message[k] for k in _REASONING if not _empty(message.get(k))), None)
        if reasoning is not None:
            if text_fault(reasoning):
                return Refused(f"reasoning that is {text_fault(reasoning)}", f"of the {role}")
            turn["reasoning_content"] = reasoning
        plain.append(turn)
    first = next((m["content"] for m in plain if m["role"] == "user"), None) or ""
    name = unit or "talk:" + hashlib.sha256(" ".join(first.split()).lower().encode()).hexdigest()
    return Talk(name, tuple(plain), given)


_SAID = ("role", "from", "content", "value")


def _more(message: Mapping[str, Any]) -> dict[str, Any]:
    """What else a message says, of which a template may write some: a name, calls of tools."""
    read = (*_SAID, *_REASONING, *_SAID_AS, *_UNREAD)
    kept = {k: v for k, v in message.items() if k not in read and not _empty(v)}
    return {k: _parsed(v) if k in CALLS else v for k, v in kept.items()}


def _given(beside: Mapping[str, Any]) -> dict[str, Any] | Refused:
    """What the template is given beside the messages, or why it cannot be."""
    found = {name: _parsed(beside[name]) for name in _GIVEN if not _empty(beside.get(name))}
    settings = found.pop("chat_template_kwargs", {})
    for name, value in found.items():
        if not isinstance(value, Sequence) or not all(isinstance(one, dict) for one in value):
            return Refused(f"{name} that are no list of objects", type(value).__name__)
    if not isinstance(settings, dict):
        return Refused("chat_template_kwargs that are no object", type(settings).__name__)
    if both := {"messages", "add_generation_prompt", *found} & settings.keys():
        return Refused("chat_template_kwargs that name what the row has", ", ".join(sorted(both)))
    return found | settings


def _parsed(value: Any) -> Any:
    """A list or object that is written as text, JSON or (as pandas does it) Python's; anything
    else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list | dict):
            return found
    return value


_REASONING = ("reasoning_content", "thinking", "reasoning")


def _empty(value: Any) -> bool:
    """Whether a field says nothing: missing, null, an empty text, list or object (also as JSON)."""
    if value is None:
        return True
    return isinstance(value, str | Sequence | dict) and str(value).strip() in _NOTHING


_NOTHING = ("", "[]", "{}", "null")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_pair(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(map(_is_text, value))


def _unread(fields: dict[str, Any]) -> Refused | None:
    """Why a row or message cannot be taken by its words alone; None where it can."""
    for name, holds in _UNREAD.items():
        if not _empty(fields.get(name)):
            return Refused(f"with {holds}, which are not read", selection=True)
    return None


def _weighed(fields: dict[str, Any]) -> Refused | None:
    """Why an answer is not learnt like any other, by what its row or message says of it."""
    for name, no in _SAID_AS.items():
        value = fields.get(name)
        if isinstance(value, str):
            value = {"false": False, "true": True, "0": 0, "1": 1}.get(value.strip().lower())
        if not isinstance(value, bool | int | float):
            continue  # nothing, or words
        if value == no:
            return Refused(_NOT_LEARNT, selection=True)
        if value not in (0, 1):
            return Refused("with an answer of another weight than 0 or 1", selection=True)
    return None


def _before(beside: dict[str, Any]) -> list[dict[str, Any]] | Refused:
    """The turns that the columns beside a conversation stand for, or why they are none."""
    system = next((beside[k] for k in _SYSTEM if not _empty(beside.get(k))), None)
    turns = [] if system is None else [{"role": "system", "content": system}]
    history = _parsed(beside.get("history"))
    if _empty(history):
        return turns
    if not isinstance(history, Sequence) or not all(map(_is_pair, history)):
        return Refused("with a history that is no list of pairs of texts")
    for said in history:
        roles = ("user", "assistant")
        turns += [{"role": r, "content": c} for r, c in zip(roles, said, strict=True)]
    return turns


def _asked_and_answered(row: dict[str, Any]) -> list[Any] | Refused:
    """Of a row with a column (or two) that asks and one that answers, in this order. Of turns only
    the answer's are learnt: what the assistant said before cannot be left out."""
    *asked, answer = row.values()
    question = asked[0]
    if len(asked) > 1 and asked[1] is not None and isinstance(question, str):
        if not isinstance(asked[1], str):
            question = asked[1]  # which is no text, and is refused as such
        elif asked[1].strip():
            question = f"{question}\n\n{asked[1]}"
    turns: list[Any] = []
    for role, said in (("user", question), ("assistant", answer)):
        as_list = _parsed(said)
        if isinstance(as_list, list) and _are_turns(as_list) and _fits(role, as_list):
            said = as_list
        if not isinstance(said, Sequence) or isinstance(said, str | bytes):
            said = [{"role": role, "content": said}]
        elif role == "user" and any(_speaks(turn, "assistant") for turn in said):
            return Refused(_NOT_LEARNT, "in what is asked", selection=True)
        elif role == "assistant" and _are_turns(said) and not _speaks(said[0], role):
            return Refused("with an answer that another begins", selection=True)
        turns += said
    return turns


def _speaks(turn: Any, role: str) -> bool:
    return isinstance(turn, dict) and _said(turn)[0] == role


def _fits(role: str, turns: Sequence[Any]) -> bool:
    """Whether turns can be what is asked, or what is answered; else they are words like others."""
    return _speaks(turns[0], role) if role == "assistant" else not _speaks(turns[-1], "assistant")


def _are_turns(values: Sequence[Any]) -> bool:
    """Whether all have a role and a content."""
    return bool(values) and all(isinstance(v, dict) and None not in _said(v) for v in values)


def _said(message: dict[str, Any]) -> tuple[Any, Any]:
    """(role, content) of a message, in either form."""
    speaker = next((message[k] for k in ("role", "from") if message.get(k) is not None), None)
    said = next((message[k] for k in ("content", "value") if message.get(k) is not None), None)
    if isinstance(speaker, str):
        speaker = _SPEAKERS.get(speaker, speaker)
    return speaker, _joined(said)


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
