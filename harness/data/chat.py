"""Conversations as tokens: the tokenizer's own chat template, and which tokens are scored.

The tokens are those of the whole text that the template writes, as transformers' has them. Only a
special token's name in a message is ordinary text here: a user who writes `<|im_end|>` ends no
turn. May not import transformers or torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from harness.data import tokenizer as tokenizers_
from harness.data.template import Template
from harness.data.written import Follow, Written, follow
from harness.errors import RequestError

END_OF_TURN = "<|im_end|>"
ROLES = ("system", "user", "assistant")
TOOL_ROLES = ("tool", "ipython", "function", "developer")
"""Roles that only some templates write."""
CALLS = ("tool_calls", "function_call")
"""Fields of an assistant's message that stand for words of it."""

Message = Mapping[str, Any]
"""`{"role": ..., "content": ...}`, and maybe `reasoning_content`, `tool_calls`, `name` and others,
which a template may write."""
Given = Mapping[str, Any]
"""What a template is given beside the messages: `tools`, `documents`, settings of its own."""
_NOTHING: Given = {}
_MOST_FOLLOWERS = 64
"""Kept, one for each set of tools and settings."""


@dataclass(frozen=True)
class Encoded:
    """A conversation in tokens."""

    tokens: np.ndarray
    """(length,) int32."""
    scored: np.ndarray
    """(length,) bool: what the template's tags mark as the assistant's; where it has none, what
    follows the words that ask the assistant to speak, up to the end of its turn."""
    turn_ends: tuple[int, ...]
    """For each turn of the assistant: how many tokens there are up to its end-of-turn token.
    Empty where a template with tags does more to contents than can be followed."""

    @property
    def targets(self) -> int:
        """Scored tokens."""
        return int(self.scored.sum())


@dataclass(frozen=True)
class _Laid:
    """A conversation as text, before it is cut into tokens."""

    text: str
    said: tuple[tuple[int, int], ...]
    """What is scored, (from, to) in characters."""
    ends: tuple[int, ...]
    """Where each of the assistant's turns ends."""
    guarded: bool
    """Whether special tokens stand in it under the names of `ChatFormat._guard`."""


class ChatFormat:
    """A tokenizer and its chat template."""

    def __init__(self, folder: Path) -> None:
        """Read `tokenizer.json` and the template of a tokenizer's folder.

        Raises RequestError when either is missing or cannot be read.
        """
        self.folder = folder
        if tokenizers_.splits_special(folder):
            raise RequestError(
                f"the tokenizer of {folder} has split_special_tokens set: what its chat template "
                "writes would be ordinary text"
            )
        self.plain = tokenizers_.load(folder)
        """Takes special tokens' names for ordinary text."""
        self.special = tokenizers_.load(folder)
        """Knows special tokens by their names."""
        self.special.encode_special_tokens = False
        self.template = Template(folder)
        added = self.special.get_added_tokens_decoder()
        self._special = {token.content: i for i, token in added.items() if token.special}
        self.ends = _any_of(t.content for t in added.values() if t.content.strip())
        self._names = _any_of(self._special)
        self._followers: dict[str, Follow] = {}

    def text(
        self, messages: Sequence[Message], *, prompt: bool = False, given: Given = _NOTHING
    ) -> str:
        """The conversation as the template writes it; with `prompt`, up to where the assistant
        begins. Raises RequestError where the template refuses it."""
        return self.template.render(messages, prompt=prompt, given=given)[0]

    def unread(self, messages: Sequence[Message], given: Given) -> str | None:
        """What of a conversation the template does not write, so that its words alone would be
        another one; None where it can all be written."""
        wanted = [name for name in ("tools", "documents") if name in given]
        wanted += [name for name in CALLS if any(name in message for message in messages)]
        unread = next((name for name in wanted if not self.template.reads(name)), None)
        return unread and f"with {unread}, which the chat template does not write"

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to where the assistant begins. Raises RequestError."""
        laid = self._lay(messages, prompt=True)
        return list(self._tokenizer(laid).encode(laid.text, add_special_tokens=False).ids)

    @cached_property
    def end_of_turn(self) -> int:
        """The token that ends the assistant's turn, asked of the template. Raises RequestError for
        a template that writes none."""
        talk = [{"role": role, "content": "a"} for role in ("user", "assistant")]
        encoded = self.encode(talk)
        if not encoded.turn_ends:
            raise RequestError(f"the chat template of {self.folder} ends no turn")
        return int(encoded.tokens[encoded.turn_ends[-1] - 1])

    def encode(self, messages: Sequence[Message], given: Given = _NOTHING) -> Encoded:
        """One conversation. Raises RequestError for a template that this cannot follow."""
        (one,) = self.encode_each([messages], [given])
        if isinstance(one, RequestError):
            raise one
        return one

    def encode_many(self, conversations: Sequence[Sequence[Message]]) -> list[Encoded]:
        """The same, of many at once. Raises RequestError for the first that cannot be."""
        found = []
        for one in self.encode_each(conversations):
            if isinstance(one, RequestError):
                raise one
            found.append(one)
        return found

    def encode_each(
        self, conversations: Sequence[Sequence[Message]], given: Sequence[Given] | None = None
    ) -> Iterator[Encoded | RequestError]:
        """Each in tokens, or why the template does not take it; texts go to the tokenizer
        together."""
        laid: list[_Laid | RequestError] = []
        for messages, beside in zip(
            conversations, given or [_NOTHING] * len(conversations), strict=True
        ):
            try:
                laid.append(self._lay(messages, prompt=False, given=beside))
            except RequestError as error:
                laid.append(error)
        usual = [one.text for one in laid if isinstance(one, _Laid) and not one.guarded]
        encodings = iter(self.special.encode_batch(usual, add_special_tokens=False))
        for one in laid:
            if isinstance(one, RequestError):
                yield one
            elif one.guarded:
                yield self._score(one, self._guard.encode(one.text, add_special_tokens=False))
            else:
                yield self._score(one, next(encodings))

    def id_of(self, name: str) -> int:
        """A special token's id. Raises RequestError where the tokenizer has none."""
        found = self.plain.token_to_id(name)
        if found is None:
            raise RequestError(f"the tokenizer of {self.folder} has no {name}")
        return int(found)

    def _lay(self, messages: Sequence[Message], *, prompt: bool, given: Given = _NOTHING) -> _Laid:
        """The text, and what of it is scored. Raises RequestError."""
        text, said = self.template.render(messages, prompt=prompt, given=given)
        names = any(self._names.search(words) for m in messages for words in _words(m))
        if prompt and not names:
            return _Laid(text, (), (), guarded=False)
        tagged = self.template.tagged
        thinks = any(message.get("reasoning_content") for message in messages)
        if thinks and not any(map(self.template.reads, ("reasoning_content", "thinking"))):
            raise RequestError(
                f"the chat template of {self.folder} does not write reasoning_content, which the "
                "messages have"
            )
        if uses_tools(messages):
            if unwritten := [m["role"] for m in messages if not _is_in(m, text)]:
                raise RequestError(
                    f"the chat template of {self.folder} does not write what the {unwritten[0]} "
                    "says"
                )
            if names:
                raise RequestError(
                    "a special token's name in a conversation with tools, whose words are not told "
                    "from the template's"
                )
            if tagged:
                return _Laid(text, tuple(said), (), guarded=False)
            return turn_by_turn(self, messages, text, given)
        written = self._follow(given)(messages, text, prompt)
        if isinstance(written, str):
            if names or not tagged:
                raise RequestError(f"the chat template of {self.folder} {written}")
            return _Laid(text, tuple(said), (), guarded=False)
        turns = [one for m, one in zip(messages, written, strict=True) if m["role"] == "assistant"]
        if prompt:
            return self._guarded(text, written, [], [])
        if tagged:
            ends = [one.end + _length(self.ends, text, one.end) for one in turns]
        else:
            ends = [self._end(text, one) for one in turns]
            said = [(self._start(text, one), end) for one, end in zip(turns, ends, strict=True)]
        if names:
            return self._guarded(text, written, said, ends)
        return _Laid(text, tuple(said), tuple(ends), guarded=False)

    def _follow(self, given: Given) -> Follow:
        key = json.dumps(given, sort_keys=True, default=str) if given else ""
        if key not in self._followers:
            if len(self._followers) >= _MOST_FOLLOWERS:
                self._followers.clear()
            self._followers[key] = follow(
                lambda messages, prompt: self.text(messages, prompt=prompt, given=given)
            )
        return self._followers[key]

    @cached_property
    def _asks(self) -> str:
        """What the template writes to ask the assistant to speak; empty where it does not."""
        talk = [{"role": "user", "content": "a"}]
        try:
            before, after = self.text(talk), self.text(talk, prompt=True)
        except RequestError:
            return ""
        asks = after.removeprefix(before) if after.startswith(before) else ""
        return asks if asks.strip() else ""

    def _start(self, text: str, turn: Written) -> int:
        """Where the assistant begins: behind the words that ask it to, else with its content."""
        at = text.rfind(self._asks, turn.after, turn.start) if self._asks else -1
        return turn.lead if at < 0 else at + len(self._asks)

    def _end(self, text: str, turn: Written) -> int:
        """Where the token behind what the assistant says ends. Raises RequestError for none."""
        length = _length(self.ends, text, turn.end)
        if not length:
            raise RequestError(
                f"the chat template of {self.folder} does not end the assistant's turn with a "
                "special token, so a model would not learn to stop"
            )
        return turn.end + length

    def _score(self, laid: _Laid, encoding: Any) -> Encoded:
        tokens = np.array(encoding.ids, dtype=np.int32)
        scored = np.zeros(len(tokens), dtype=bool)
        for start, end in laid.said:
            first = encoding.char_to_token(start)
            last = encoding.char_to_token(end - 1)
            if first is None and self.template.tagged:
                break  # as transformers does it
            if first is None:  # a character that the normalizer took away
                at = (encoding.char_to_token(i) for i in range(start, end))
                first = next((token for token in at if token is not None), len(tokens))
            scored[first : last + 1 if last else len(tokens)] = True
        ends = (encoding.char_to_token(end - 1) for end in laid.ends)
        return Encoded(tokens, scored, tuple(end + 1 for end in ends if end is not None))

    def _tokenizer(self, laid: _Laid) -> Tokenizer:
        return self._guard if laid.guarded else self.special

    def _guarded(
        self,
        text: str,
        written: Sequence[Written],
        spans: Sequence[tuple[int, int]],
        ends: Sequence[int],
    ) -> _Laid:
        """The same with the template's own special tokens under the names of `_guard`."""
        own = [(part.start, part.end) for one in written for part in one.parts]
        moved, kept, at = [0], [0], 0  # places in the old text, and the same in the new
        pieces: list[str] = []
        for match in self._names.finditer(text):
            start, end = match.span()
            if any(a < end and start < b for a, b in own):
                continue  # said by somebody
            name = _hidden(self._special[match.group()])
            pieces += [text[at:start], name]
            moved += [kept_ := moved[-1] + start - at, kept_ + len(name)]
            kept += [start, end]
            at = end
        new = "".join([*pieces, text[at:]])

        def place(old: int) -> int:
            i = int(np.searchsorted(kept, old, side="right")) - 1
            return moved[i] + old - kept[i]

        said = tuple((place(start), place(end)) for start, end in spans)
        return _Laid(new, said, tuple(place(end) for end in ends), guarded=True)

    @cached_property
    def _guard(self) -> Tokenizer:
        """The tokenizer with other names for its special tokens, which nobody says: what a message
        says is never one, and all else is cut as ever. Raises RequestError."""
        plain = json.loads(self.special.to_str())
        new = {name: _hidden(i) for name, i in self._special.items()}
        for token in plain["added_tokens"]:
            token["content"] = new.get(token["content"], token["content"])
        model = plain["model"]
        if isinstance(model["vocab"], dict):
            model["vocab"] = {new.get(name, name): i for name, i in model["vocab"].items()}
        else:
            model["vocab"] = [[new.get(name, name), score] for name, score in model["vocab"]]
        if model.get("unk_token") in new:
            model["unk_token"] = new[model["unk_token"]]
        plain["post_processor"] = None
        try:
            guard = Tokenizer.from_str(json.dumps(plain))
        except Exception as error:  # the library raises plain Exception
            raise RequestError(f"the tokenizer of {self.folder}: {error}") from None
        if any(guard.token_to_id(_hidden(i)) != i for i in self._special.values()):
            raise RequestError(
                f"the tokenizer of {self.folder} cannot tell the name of a special token in a "
                "message from the token"
            )
        return guard


def turn_by_turn(chat: ChatFormat, messages: Sequence[Message], text: str, given: Given) -> _Laid:
    """A conversation with calls of tools: each of the assistant's turns is what the template writes
    more than it writes to ask for it, up to the last special token. Raises RequestError for a
    template of which that is not so."""
    said: list[tuple[int, int]] = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = chat.text(messages[:i], prompt=True, given=given)
        whole = chat.text(messages[: i + 1], given=given)
        if not whole.startswith(before):  # it asks with words that it does not write of a turn
            before = chat.text(messages[:i], given=given)
        end = max((m.end() for m in chat.ends.finditer(whole, len(before))), default=0)
        if not whole.startswith(before) or not end or not text.startswith(whole[:end]):
            raise RequestError(
                f"the chat template of {chat.folder} writes a turn with tools otherwise where "
                "others follow it, so what is learnt cannot be told"
            )
        said.append((len(before), end))
    return _Laid(text, tuple(said), tuple(end for _, end in said), guarded=False)


def uses_tools(messages: Sequence[Message]) -> bool:
    """Whether tools are called, or speak, in a conversation."""
    return any(m["role"] in TOOL_ROLES or set(CALLS) & m.keys() for m in messages)


def _is_in(message: Message, text: str) -> bool:
    """Whether a message's words stand in a text: as they are, or as JSON writes them."""
    words = (message.get("content") or "").split("</think>")[-1].strip()
    written = (words, *(json.dumps(words, ensure_ascii=way)[1:-1] for way in (False, True)))
    return any(one in text for one in written)


def _words(value: Any) -> Iterator[str]:
    """All texts in a message."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _words(one)


def _hidden(token: int) -> str:
    """A special token's other name."""
    return f"\uf8f0{token}\uf8f1"


def _any_of(names: Any) -> re.Pattern[str]:
    """One of the names, the longest that fits; of no names, nothing."""
    known = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, known)) if known else r"(?!)")


def _length(names: re.Pattern[str], text: str, at: int) -> int:
    """Of one of `names` at a place in a text, and the white space before it; 0 for none."""
    space = len(text[at:]) - len(text[at:].lstrip())
    found = names.match(text, at + space)
    return space + len(found.group()) if found else 0
