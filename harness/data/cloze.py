"""A small multiple-choice task that needs no Hub: which of four continuations follows?

Made of real text, the reference topics that come with Python: a passage's first words, its own
next words, and the words at the same place of three passages of other topics. Deterministic for
one version of Python. Written as a local task of lm-evaluation-harness.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from harness.data.cache import cache_root, written
from harness.data.texts import named
from harness.errors import RequestError
from harness.files import write_atomically

NAME = "stdlib-cloze"
ITEMS = 120
CHOICES = 4
_CONTEXT, _ANSWER = 10, 6
"""Words."""

Item = dict[str, object]


def items() -> list[Item]:
    """`context`, `choices` and the place of the right one. Raises RequestError for no text."""
    passages = _passages()
    order = sorted(passages, key=lambda passage: _draw("order", *passage))
    found: list[Item] = []
    for i, (topic, words) in enumerate(order):
        others = [other for name, other in order[i + 1 :] + order[:i] if name != topic]
        wrong = [" ".join(other[_CONTEXT : _CONTEXT + _ANSWER]) for other in others]
        right = " ".join(words[_CONTEXT : _CONTEXT + _ANSWER])
        choices = [right, *wrong[: CHOICES - 1]]
        choices.sort(key=lambda choice: _draw("place", topic, [choice]))
        found.append(
            {
                "topic": topic,
                "context": " ".join(words[:_CONTEXT]),
                "choices": choices,
                "answer": choices.index(right),
            }
        )
        if len(found) == ITEMS:
            return found
    raise RequestError(f"this Python's reference topics give only {len(found)} items")


def write() -> Path:
    """The task's YAML file, in the cache beside its items. Raises RequestError."""
    lines = "".join(json.dumps(item) + "\n" for item in items())
    digest = hashlib.sha256(lines.encode()).hexdigest()[:16]
    folder = cache_root() / "tasks" / digest
    data, task = folder / f"{NAME}.jsonl", folder / f"{NAME}.yaml"
    content = {
        "task": NAME,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
        ],
        "metadata": {"version": 1.0},
    }
    with written(task):
        write_atomically(data, lines)
        write_atomically(task, json.dumps(content, indent=1) + "\n")  # JSON is YAML
    return task


def _passages() -> list[tuple[str, Sequence[str]]]:
    """(topic, words) of paragraphs of plain prose, long enough, each once."""
    found: dict[tuple[str, ...], str] = {}
    for document in named("stdlib-topics").documents:
        for paragraph in document.text.split("\n\n"):
            words = tuple(paragraph.split())
            indented = any(line[:1].isspace() for line in paragraph.splitlines())
            plain = paragraph[:1].isupper() and not indented and "::" not in paragraph
            if plain and len(words) >= _CONTEXT + _ANSWER:
                found.setdefault(words, document.name)
    return [(topic, words) for words, topic in found.items()]


def _draw(what: str, topic: str, words: Sequence[str]) -> str:
    return hashlib.sha256(f"{what} {topic} {' '.join(words)}".encode()).hexdigest()
