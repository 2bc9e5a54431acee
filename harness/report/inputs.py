"""What a card is made from: everything that a results folder holds, read once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import NAME, Frozen
from harness.errors import RequestError
from harness.files import read_regular
from harness.machine.prices import FILE as PRICES
from harness.machine.prices import Price, prices
from harness.recipe import LADDER
from harness.records import bench, configuration, evaluation, foreign, gates, ledger, store
from harness.records.bench import Bench, Kernels
from harness.records.evaluation import Evaluation
from harness.records.ledger import Foretold
from harness.records.schema import Record
from harness.referee import case
from harness.referee.case import Case

PAGE_BYTES = 5_000_000
"""The most that a ladder's page may have."""
SHARED = ("question", "config", "diff", "arm_values", "hardware", "software", "code")
"""Fields that are equal in many records."""


@dataclass(frozen=True)
class Inputs:
    """All that a card is made from."""

    records: Sequence[Record]
    evaluations: Sequence[Evaluation]
    prices: Sequence[Price]
    suites: Mapping[str, Bench]
    """File -> a bench's suite on one device."""
    kernels: Kernels | None
    ledgers: Mapping[str, Sequence[Foretold]]
    """Recipe -> the forecasts of its ladder."""
    scripts: Sequence[Case]
    """Comparisons of other people's scripts."""
    beside: Mapping[str, str]
    """Page of a ladder that lies in a folder of its own below -> its verdict, as it says it."""
    digests: dict[str, str]
    """File, relative to the results folder -> SHA-256 of its bytes."""


def read(results: Path) -> Inputs:
    """Everything in a results folder that a card shows. Raises RequestError for a broken one."""
    records, digests = _records(results)
    scored = evaluation.read_all(results)
    for one_scored in scored:
        path = evaluation.path_of(one_scored)
        digests[path] = hashlib.sha256((results / path).read_bytes()).hexdigest()
    own = results / "facts" / PRICES
    if own.is_file():
        digests[f"facts/{PRICES}"] = hashlib.sha256(own.read_bytes()).hexdigest()
    suites, kernels = bench.read_all(results)
    for path in [*suites, *([bench.KERNELS] if kernels else [])]:
        digests[path] = hashlib.sha256((results / path).read_bytes()).hexdigest()
    ledgers = {}
    for file in sorted(ledger.path_of(results, "").parent.glob("*.jsonl")):
        ledgers[file.stem] = ledger.forecasts(file)
        digests[f"ledger/{file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    judged = case.read(results)
    for one in judged:
        for path in _files_of(one):
            digests[path] = hashlib.sha256((results / path).read_bytes()).hexdigest()
    return Inputs(
        records,
        scored,
        prices(results),
        suites,
        kernels,
        ledgers,
        judged,
        _beside(results),
        digests,
    )


def _beside(results: Path) -> dict[str, str]:
    """The ladders of `<results>/ladder`, which has a card of its own."""
    found = {}
    for path in sorted((results / LADDER / "cards").glob("ladder-*.md")):
        if not re.fullmatch(NAME, path.name):
            continue
        lines = read_regular(path, PAGE_BYTES).decode("utf-8", "replace").splitlines()
        said = next((line for line in lines if line.startswith("**")), "")
        found[path.relative_to(results).as_posix()] = said.strip("*.")
    return found


def _files_of(one: Case) -> list[str]:
    """What a comparison of scripts is drawn from."""
    return [
        foreign.question_path(one.asked.name),
        *(foreign.record_path(record) for record in one.records),
        *(foreign.source_path(source) for source in one.sources),
    ]


def _records(results: Path) -> tuple[list[Record], dict[str, str]]:
    """The records as views need them, and the digests of their files.

    What is equal in many records is held once, and the training losses, which no view shows and
    which are most of a record, are left out: ten thousand records take a few hundred megabytes.
    """
    records, digests = [], {}
    shared: dict[str, Any] = {}
    with store.uncollected():
        for one in store.stored_in(results):
            record = one.record
            digests[store.path_of(record)] = one.sha256
            parts: dict[str, Any] = {"training": ()}
            for name in SHARED:
                part = getattr(record, name)
                text = part.model_dump_json() if isinstance(part, Frozen) else json.dumps(part)
                kept = shared.setdefault(f"{name} {text}", part)
                if name == "config" and kept is part and (wrong := configuration.faults(part)):
                    raise RequestError(f"{store.path_of(record)} is not valid: {wrong[0]}")
                parts[name] = kept
            if broken := gates.check(record):  # after its configuration, which they calculate with
                raise RequestError(f"{store.path_of(record)} is not plausible: {broken[0]}")
            records.append(record.model_copy(update=parts))
    return records, digests
