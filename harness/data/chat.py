"""Conversations as tokens: the tokenizer's own chat template, and which tokens are scored.

Contents are tokenized as ordinary text, so that a user who writes `<|im_end|>` ends no turn; only
the template's own words become special tokens. May not import transformers or torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import tokenizer as tokenizers_
from harness.data.limits import memory_limit
from harness.errors import RequestError, TooLong, time_limit

END_OF_TURN = "<|im_end|>"
ROLES = ("system", "user", "assistant")

Message = Mapping[str, str]
"""`{"role": ..., "content": ...}`."""

TEMPLATE_SECONDS = 5.0
TEMPLATE_BYTES = 2**30
"""What a template may take for one conversation, which takes ours a fraction of a millisecond."""


@dataclass(frozen=True)
class Encoded:
    """A conversation in tokens."""

    tokens: np.ndarray
    """(length,) int32."""
    scored: np.ndarray
    """(length,) bool: the assistant's contents, and the end-of-turn token after each."""
    turn_ends: tuple[int, ...]
    """For each turn of the assistant: how many tokens there are up to its end-of-turn token."""

    @property
    def targets(self) -> int:
        """Scored tokens."""
        return int(self.scored.sum())


class ChatFormat:
    """A tokenizer and its chat template."""

    def __init__(self, folder: Path) -> None:
        """Read `tokenizer.json` and the template of a tokenizer's folder.

        Raises RequestError when either is missing or cannot be read.
        """
        self.folder = folder
        self.plain = tokenizers_.load(folder)
        """Takes special tokens' names for ordinary text."""
        self.special = tokenizers_.load(folder)
        """Knows special tokens by their names."""
        self.special.encode_special_tokens = False
        self.end_of_turn = self.id_of(END_OF_TURN)
        self._template, self._names = _read_template(folder)
        self._frames: dict[tuple[str, ...], list[list[int]]] = {}

    def text(self, messages: Sequence[Message], *, prompt: bool = False) -> str:
        """The conversation as the template writes it; with `prompt`, up to where the assistant
        begins. Raises RequestError where the template refuses it."""
        import jinja2

        given = [{"role": m["role"], "content": m["content"]} for m in messages]
        try:
            with memory_limit(TEMPLATE_BYTES), time_limit(TEMPLATE_SECONDS):
                return self._template(messages=given, add_generation_prompt=prompt, **self._names)
        except TooLong as error:
            raise RequestError(f"the chat template of {self.folder}: {error}") from None
        except jinja2.TemplateError as error:
            raise RequestError(f"the chat template of {self.folder} says: {error}") from None
        except Exception as error:  # whatever its expressions raise on these messages
            raise RequestError(
                f"the chat template of {self.folder} fails: {type(error).__name__}: {error}"
            ) from None

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to where the assistant begins. Raises RequestError."""
        contents = [message["content"] for message in messages]
        frame = self._frame(messages, prompt=True)
        ids = list(frame[0])
        for content, after in zip(contents, frame[1:], strict=True):
            ids += self.plain.encode(content, add_special_tokens=False).ids + after
        return ids

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """One conversation. Raises RequestError for a template that this cannot follow."""
        return self.encode_many([messages])[0]

    def encode_many(self, conversations: Sequence[Sequence[Message]]) -> list[Encoded]:
        """The same, of many at once. Raises RequestError for the first that cannot be."""
        found = []
        for one in self.encode_each(conversations):
            if isinstance(one, RequestError):
                raise one
            found.append(one)
        return found

    def encode_each(
        self, conversations: Sequence[Sequence[Message]]
    ) -> Iterator[Encoded | RequestError]:
        """Each in tokens, or why the template does not take it; contents go to the tokenizer
        together."""
        contents = [m["content"] for messages in conversations for m in messages]
        encodings = iter(self.plain.encode_batch_fast(contents, add_special_tokens=False))
        for messages in conversations:
            own = list(islice(encodings, len(messages)))
            try:
                yield self._assemble(messages, own)
            except RequestError as error:
                yield error

    def _assemble(self, messages: Sequence[Message], encodings: Sequence[Any]) -> Encoded:
        frame = self._frame(messages, prompt=False)
        ids: list[int] = list(frame[0])
        scored = [False] * len(ids)
        ends: list[int] = []
        for message, after, encoding in zip(messages, frame[1:], encodings, strict=True):
            assistant = message["role"] == "assistant"
            ids += encoding.ids
            scored += [assistant] * len(encoding.ids)
            if assistant:
                ends.append(len(ids) + 1)
            ids += after
            scored += [assistant] + [False] * (len(after) - 1)
        return Encoded(np.array(ids, dtype=np.int32), np.array(scored, dtype=bool), tuple(ends))

    def _frame(self, messages: Sequence[Message], *, prompt: bool) -> list[list[int]]:
        """The template's own words as tokens: before the first content, and after each.

        Found by writing the conversation with marks in place of contents; that the template does
        nothing else to contents is checked on the real ones.
        """
        roles = tuple(message["role"] for message in messages)
        key = (*roles, "prompt" if prompt else "")
        words = self._words(roles, prompt=prompt)
        whole = words[0] + "".join(
            m["content"] + after for m, after in zip(messages, words[1:], strict=True)
        )
        if whole != self.text(messages, prompt=prompt):
            raise RequestError(
                f"the chat template of {self.folder} changes what the messages say, so their "
                "tokens cannot be told from its own"
            )
        if key not in self._frames:
            frame = [self.special.encode(part, add_special_tokens=False).ids for part in words]
            for role, after in zip(roles, frame[1:], strict=True):
                if role == "assistant" and after[:1] != [self.end_of_turn]:
                    raise RequestError(
                        f"the chat template of {self.folder} does not end the assistant's turn "
                        f"with {END_OF_TURN}"
                    )
            self._frames[key] = frame
        return self._frames[key]

    def _words(self, roles: tuple[str, ...], *, prompt: bool) -> list[str]:
        marks = [f"\ue000{i}\ue001" for i in range(len(roles))]
        rest = self.text(
            [{"role": r, "content": m} for r, m in zip(roles, marks, strict=True)], prompt=prompt
        )
        words = []
        for mark in marks:
            before, found, rest = rest.partition(mark)
            if not found or mark in rest:
                raise RequestError(
                    f"the chat template of {self.folder} does not write each message once, in order"
                )
            words.append(before)
        return [*words, rest]

    def id_of(self, name: str) -> int:
        """A special token's id. Raises RequestError where the tokenizer has none."""
        found = self.plain.token_to_id(name)
        if found is None:
            raise RequestError(f"the tokenizer of {self.folder} has no {name}, which ChatML needs")
        return int(found)


def _read_template(folder: Path) -> tuple[Callable[..., str], dict[str, str]]:
    """The compiled template, and the special tokens that it may name."""
    import jinja2

    path = folder / "tokenizer_config.json"
    try:
        config = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError as error:
        raise RequestError(f"{path} is not JSON ({error})") from None
    if not isinstance(config, dict):
        raise RequestError(f"{path} holds no object but {type(config).__name__}")
    beside = folder / "chat_template.jinja"
    if beside.is_file():  # stands above the field, which older tools leave there
        source: Any = beside.read_text(encoding="utf-8", errors="replace")
    else:
        source = config.get("chat_template")
    if isinstance(source, list):  # several named ones; the one for chat is called default
        named = [one for one in source if isinstance(one, dict) and one.get("name") == "default"]
        source = named[0].get("template") if named else None
    if source is None:
        raise RequestError(f"the tokenizer of {folder} has no chat template")
    if not isinstance(source, str):
        raise RequestError(f"the chat template of {folder} is no text but {type(source).__name__}")
    try:
        # Compiling folds constants: `'x' * 9999999999` takes its memory here, not on rendering.
        with memory_limit(TEMPLATE_BYTES), time_limit(TEMPLATE_SECONDS):
            template = _environment().from_string(source)
    except (TooLong, MemoryError) as error:
        said = str(error) or "MemoryError"
        raise RequestError(f"the chat template of {folder} fails: {said}") from None
    except jinja2.TemplateError as error:
        raise RequestError(f"the chat template of {folder} is not one: {error}") from None
    names = {
        name: value["content"] if isinstance(value, dict) else value
        for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        if (value := config.get(name)) is not None
    }
    return template.render, names


def _environment() -> Any:
    """The settings that transformers documents for chat templates, but for the day's date
    (`strftime_now`): the same conversation must give the same tokens tomorrow."""
    import jinja2
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` around what the assistant says: written as it stands, since which
        tokens are scored follows from the messages."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

        def _said(self, caller: Callable[[], str]) -> str:
            return caller()

    class Sandbox(ImmutableSandboxedEnvironment):
        """Without powers that take for ever: a signal cannot interrupt them."""

        intercepted_binops = frozenset({"**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if not isinstance(right, int | float) or abs(right) > 64:
                raise jinja2.TemplateError(f"a power of {right!r} is not computed")
            return left**right

    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", Generation],
    )  # fmt: skip
    environment.globals["raise_exception"] = _refuse
    environment.filters["tojson"] = _to_json
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, **settings: Any) -> str:
    """Without jinja's escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **settings)


def _refuse(message: str) -> str:
    import jinja2

    raise jinja2.TemplateError(message)
