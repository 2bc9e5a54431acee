"""Where in a rendered conversation each message's own words stand.

A template is a program: it is asked with marks in place of what is said, and the text that it
writes of the real words must be the same but for these. So its own words are told from theirs,
whatever anybody says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Render = Callable[[Sequence[Mapping[str, Any]], bool], str]
"""(messages, whether only up to where the assistant begins) -> text."""

_THINKING = re.compile(r"(\s*</?think>\s*)")
"""What templates look for in contents: some move, or drop, what stands between."""
_MOST_SHAPES = 4096
"""Kept; more than these are asked for anew."""
_WAYS: tuple[Callable[[str], str], ...] = (
    lambda text: text, str.strip, str.rstrip, str.lstrip,
    lambda text: text.strip("\n"), lambda text: text.rstrip("\n"), lambda text: text.lstrip("\n"),
)  # fmt: skip
"""What a template may do to what is said: nothing, or take white space off its ends."""


@dataclass(frozen=True)
class Part:
    """A stretch of the text, in characters."""

    start: int
    end: int


@dataclass(frozen=True)
class Written:
    """What the template wrote of one message."""

    parts: tuple[Part, ...]
    """Its words; several where it thinks aloud."""
    after: int
    """Where the words of the message before end."""
    lead: int
    """Where it starts with the tags before its first words, as far as these are written."""

    @property
    def start(self) -> int:
        """Of the first of its words."""
        return self.parts[0].start

    @property
    def end(self) -> int:
        """Of the last."""
        return self.parts[-1].end


@dataclass(frozen=True)
class _Frame:
    """The template's own words for conversations of one shape."""

    words: tuple[str, ...]
    """Before the first mark, and after each."""
    marks: tuple[int, ...]
    """Which of the marks these are: some may be dropped."""


class _Unlike(Exception):
    """What cannot be followed, as words."""


Follow = Callable[[Sequence[Mapping[str, Any]], str, bool], "list[Written] | str"]


def follow(render: Render) -> Follow:
    """A function that finds, of messages and the text that `render` made of them, where each one's
    words stand; or says why it cannot. What `render` raises passes through."""
    frames: dict[tuple[object, ...], _Frame] = {}

    def found(
        messages: Sequence[Mapping[str, Any]], text: str, prompt: bool
    ) -> list[Written] | str:
        said = [_said(message) for message in messages]
        shape = (
            prompt,
            *(
                (m["role"], _others(m), *map(_shape, s))
                for m, s in zip(messages, said, strict=True)
            ),
        )
        try:
            if shape not in frames:
                if len(frames) >= _MOST_SHAPES:
                    frames.clear()
                frames[shape] = _frame(render, messages, said, prompt)
            return _placed(frames[shape], said, text)
        except _Unlike as why:
            return str(why)

    return found


def _said(message: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """A message's reasoning (empty for none) and content, each as words and tags in turn."""
    reasoning = message.get("reasoning_content")
    return _THINKING.split(reasoning) if reasoning else [], _THINKING.split(message["content"])


def _others(message: Mapping[str, Any]) -> str:
    """The fields of a message that are no words of its own, as one text; empty where none is."""
    beside = {k: v for k, v in message.items() if k not in ("role", "content", "reasoning_content")}
    return json.dumps(beside, sort_keys=True, default=str) if beside else ""


def _shape(pieces: list[str]) -> tuple[str | None, ...]:
    """What stays of a text when its words are taken for any others."""
    return tuple(piece if _literal(pieces, i) else None for i, piece in enumerate(pieces))


def _literal(pieces: list[str], i: int) -> bool:
    """Whether a piece is a tag, or nothing before one."""
    return i % 2 == 1 or (not pieces[i].strip() and i + 1 < len(pieces))


def _frame(
    render: Render,
    messages: Sequence[Mapping[str, Any]],
    said: Sequence[tuple[list[str], list[str]]],
    prompt: bool,
) -> _Frame:
    marked, number, must = [], 0, set()
    for message, texts in zip(messages, said, strict=True):
        given = dict(message)
        for field, pieces in zip(("reasoning_content", "content"), texts, strict=True):
            if not pieces:
                continue
            new = ""
            for i, piece in enumerate(pieces):
                if _literal(pieces, i):
                    new += piece
                else:
                    new += _mark(number)
                    number += 1
            given[field] = new
        must.add(number - 1)  # what is said at the end; thinking may be dropped
        marked.append(given)
    rest = render(marked, prompt)
    words, marks = [], []
    for i in range(number):
        before, there, after = rest.partition(_mark(i))
        if there and _mark(i) not in after:
            words.append(before)
            marks.append(i)
            rest = after
        elif there or i in must:
            raise _Unlike("does not write each message once, in order")
    if any(message.get("reasoning_content") for message in messages) and not set(marks) - must:
        raise _Unlike("does not write reasoning_content, which the messages have")
    return _Frame((*words, rest), tuple(marks))


def _mark(number: int) -> str:
    return f"\ue000{number}\ue001"


def _placed(frame: _Frame, said: Sequence[tuple[list[str], list[str]]], text: str) -> list[Written]:
    whole = list(_pieces(said))
    parts: list[list[Part]] = [[] for _ in said]
    leads: list[int] = []
    at = len(frame.words[0])
    fits = text.startswith(frame.words[0])
    for mark, after in zip(frame.marks, frame.words[1:], strict=True):
        owner, piece, lead = whole[mark]
        last = mark == frame.marks[-1]
        for way in _WAYS:
            end = at + len(way(piece))
            if text.startswith(way(piece) + after, at) and (
                not last or end + len(after) == len(text)
            ):
                break
        else:
            fits = False
        if not fits:
            raise _Unlike(
                "changes what the messages say, so their tokens cannot be told from its own"
            )
        if not parts[owner]:
            leads.append(at - _shared_end(text[:at], lead))
        parts[owner].append(Part(at, end))
        at = end + len(after)
    found, before = [], 0
    for own, start in zip(parts, leads, strict=True):
        found.append(Written(tuple(own), before, start))
        before = own[-1].end
    return found


def _pieces(said: Sequence[tuple[list[str], list[str]]]) -> Iterator[tuple[int, str, str]]:
    """All that was marked, in order: (whose, the words, the tags right before)."""
    for owner, texts in enumerate(said):
        for pieces in texts:
            tags = ""
            for i, piece in enumerate(pieces):
                if _literal(pieces, i):
                    tags += piece
                else:
                    yield owner, piece, tags
                    tags = ""


def _shared_end(text: str, tags: str) -> int:
    """How much of `tags` the text ends with: all, or the white space behind them."""
    whole = (tags, tags.lstrip(), tags[len(tags.rstrip()) :])
    return next((len(one) for one in whole if text.endswith(one)), 0)
