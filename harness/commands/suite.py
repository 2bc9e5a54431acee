"""`smol eval MODEL --suite early`: questions that tiny models can be asked, by bits and by rank.

Each answer's log-likelihood is asked for through lm-evaluation-harness's model interface, so that
any of its models can be asked the same. A model's answers to a task are kept in the cache, by the
digests of both: to ask again, or to compare, costs nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.code import provenance
from harness.commands import models, tasks
from harness.commands.planned import read_device
from harness.data import suite
from harness.data.cache import cache_root, written
from harness.errors import RequestError
from harness.evidence import query
from harness.files import sha256, write_atomically
from harness.machine import devices
from harness.records import store
from harness.report import suite as report
from harness.report.suite import Member
from harness.report.suite_text import text
from harness.stats.items import Answers

if TYPE_CHECKING:
    from lm_eval.api.model import LM

    from harness.commands.evaluate import Options
    from harness.train.tasks import HarnessModel

Seen = Literal["whole", "cut", "not"]
"""How much of an item a model sees: all, all answers and the end of what is before, or less."""
_VERSION = 1
"""Rises when other answers may come of this file or the interface: kept ones are then left."""
ITEMS = 400
"""Of each task, where `--limit` does not say."""


def evaluate(options: Options, names: str) -> None:
    """Score, compare and print. Raises RequestError."""
    others = (options.text, options.data, options.record, options.tasks, options.chat)
    if any(others) or options.fewshot is not None:
        raise RequestError(
            "--suite goes without --text, --data, --record, --tasks, --fewshot and --chat"
        )
    wanted = tasks.read_names(names, option="--suite")
    folder = Path(options.model).expanduser()
    group = (folder / "records").is_dir()
    asked = suite.read(wanted, options.limit or ITEMS, _say)
    if group:
        found = _runs(folder)
    else:
        found = [models.resolve(options.model, scale=options.scale, results=options.results)]
    other = None
    if options.against is not None:
        other = models.resolve(options.against, scale=options.scale, results=options.results)
    members = [_member(one, asked, options) for one in found]
    against = None if other is None else _member(other, asked, options)
    if group:
        said = report.ladder(asked, members, against)
    else:
        said = report.one(asked, members[0], against)
    said["lm_eval"] = importlib.metadata.version("lm_eval")
    colours = not options.as_json and sys.stdout.isatty()
    print(json.dumps(said, indent=1) if options.as_json else text(said, colours))
    if options.out is not None:
        for file in _keep(asked, [*members, *([against] if against else [])], said, options.out):
            print(f"kept: {file}", file=sys.stderr if options.as_json else sys.stdout)


def answers(
    model: LM, task: suite.ItemTask, *, seen: Callable[[suite.Item], Seen] | None = None
) -> Answers:
    """What any model of lm-evaluation-harness answers to a task's items.

    `seen` says how much of an item the model sees: those of which it cannot see an answer are left
    out. Raises ValueError where the model refuses an item, or gives what is no number.
    """
    from lm_eval.api.instance import Instance

    how = ["whole" if seen is None else seen(item) for item in task.items]
    asked = [item for item, much in zip(task.items, how, strict=True) if much != "not"]
    requests = [
        Instance("loglikelihood", {}, pair, i)
        for i, pair in enumerate(pair for item in asked for pair in item.choices)
    ]
    given = iter(float(nats) for nats, _ in model.loglikelihood(requests)) if asked else iter(())
    nats, picked, normed = [], [], []
    for item in asked:
        scores = [next(given) for _ in item.choices]
        sizes = [len(answer) for _, answer in item.choices]
        if not np.isfinite(scores).all():
            raise ValueError(f"the log-likelihoods of item {item.name} are not finite")
        nats.append(-scores[item.right])
        picked.append(int(np.argmax(scores)) == item.right)
        normed.append(int(np.argmax(np.divide(scores, sizes))) == item.right)
    return Answers(
        items=tuple(item.name for item in asked),
        nats=np.array(nats),
        sizes=np.array([len(item.answer.encode()) for item in asked], dtype=np.int64),
        correct=np.array(picked, dtype=np.int64) if task.ranked else None,
        normed=np.array(normed, dtype=np.int64) if task.ranked else None,
        cut=how.count("cut"),
    )


def _member(found: models.Found, asked: Sequence[suite.ItemTask], options: Options) -> Member:
    """A model's answers to all tasks: those that are known, and what it says to the others."""
    device = read_device(options.device)
    loaded = models.load(found, dtype=options.dtype, device=device, tokenizer=options.tokenizer)
    if loaded.config is not None and devices.of(device).deterministic:
        import torch

        torch.set_num_threads(loaded.config.train.threads)  # sums depend on it, and tiny ones wait
    model = tasks.harness_model(loaded, context=options.context)
    weights = sha256(found.path) if found.path.is_file() else found.digest()
    about = [
        weights, sha256(loaded.tokenizer_folder / "tokenizer.json"), loaded.dtype,
        model.max_length, device, provenance.source_digest(), _VERSION,
        importlib.metadata.version("lm_eval"),
    ]  # fmt: skip
    given = {}
    begun = time.monotonic()
    for task in asked:
        key = hashlib.sha256(json.dumps([*about, task.digest]).encode()).hexdigest()
        place = cache_root() / "suite" / key[:2] / f"{key}.json"
        known = _read(place)
        if known is None:
            if time.monotonic() - begun > 5.0:
                begun = time.monotonic()
                _say(f"{found.name}: {task.name}")
            try:
                known = answers(model, task, seen=_seen(model))
            except ValueError as error:
                raise RequestError(f"{found.name}, {task.name}: {error}") from None
            with written(place):
                write_atomically(place, json.dumps(known.as_json()))
        given[task.name] = known
    record = found.record
    return Member(
        found.name, loaded.dtype, model.max_length, weights,
        None if record is None else record.total_parameters, given, record,
    )  # fmt: skip


def _seen(model: HarnessModel) -> Callable[[suite.Item], Seen]:
    """By the tokens that lm-evaluation-harness makes of a pair: its context's trailing spaces go
    to the answer, and whatever is merged with the context is not scored."""

    def of(item: suite.Item) -> Seen:
        encoded = model.encoder.encode_batch_fast(
            [
                text
                for before, answer in item.choices
                for text in (before.rstrip(), before + answer)
            ],
            add_special_tokens=False,
        )
        sizes = [len(one.ids) for one in encoded]
        scored = [whole - before for before, whole in zip(sizes[::2], sizes[1::2], strict=True)]
        if min(scored) < 1 or max(scored) > model.max_length:
            return "not"
        return "cut" if max(sizes) > model.max_length + 1 else "whole"

    return of


def _read(place: Path) -> Answers | None:
    try:
        return Answers.from_json(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: it is asked again


def _runs(results: Path) -> list[models.Found]:
    """The runs of a results folder that end on a horizon and whose weights are here: of runs that
    are one seed's of one arm, scale and stage the newest."""
    ended = [r for r in query.attempts(store.read_all(results)) if query.counts(r) and r.ends]
    newest = query.newest(ended, by=lambda r: (r.recipe, r.arm, r.scale, r.stage, r.seed))
    found, missing = [], 0
    for record in newest.values():
        try:
            found.append(models.resolve(record.key, results=results))
        except RequestError:
            missing += 1
            continue
        found[-1] = dataclasses.replace(found[-1], record=record)
    if not found:
        raise RequestError(f"of {missing} runs in {results} none has its weights here")
    if missing:
        _say(f"{missing} runs of {results} have no weights here, and are left out")
    return found


def _keep(
    asked: Sequence[suite.ItemTask], members: Sequence[Member], said: dict[str, Any], folder: Path
) -> list[Path]:
    """The result, each model's answers, and the items as tasks of lm-evaluation-harness."""
    try:
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        files = [folder / "suite.json", folder / "answers.json"]
        write_atomically(files[0], json.dumps(said, indent=1) + "\n")
        kept = [
            {"model": one.name, "weights": one.weights, "dtype": one.dtype, "context": one.context,
             "tasks": {name: given.as_json() for name, given in one.answers.items()}}
            for one in members
        ]  # fmt: skip
        write_atomically(files[1], json.dumps(kept) + "\n")
        return files + [suite.write_task(task, folder / "tasks") for task in asked]
    except OSError as error:
        raise RequestError(f"--out {folder}: cannot be written ({error.strerror})") from None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
