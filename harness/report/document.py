"""The card as a document: what is read from a results folder, and the views in their order.

`read` has the effects, `build` is a pure function of what was read. May not import torch.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import Frozen
from harness.errors import RequestError
from harness.evidence.sections import Section, sections
from harness.machine import devices
from harness.machine.prices import FILE as PRICES
from harness.machine.prices import Price, prices
from harness.records import bench, configuration, evaluation, gates, store
from harness.records.bench import Bench, Kernels
from harness.records.evaluation import Evaluation
from harness.records.schema import Record
from harness.report import cells, fresh, metadata, pipeline, prose, views
from harness.report.cells import Index
from harness.report.draw import Figure
from harness.report.table import Table, escape, fence, markdown, one_line
from harness.report.views import answers, architecture, benches, hours, references, rented

Part = str | Table | Figure
"""Of a card: words, or a view."""


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
    digests: dict[str, str]
    """File, relative to the results folder -> SHA-256 of its bytes."""


@dataclass(frozen=True)
class Document:
    """The card, as text and as views."""

    text: str
    figures: tuple[Figure, ...]
    index: Index


def read(results: Path) -> Inputs:
    """Everything in a results folder that a card shows. Raises RequestError for a broken one."""
    records, digests = _records(results)
    scored = evaluation.read_all(results)
    for one in scored:
        path = evaluation.path_of(one)
        digests[path] = hashlib.sha256((results / path).read_bytes()).hexdigest()
    own = results / "facts" / PRICES
    if own.is_file():
        digests[f"facts/{PRICES}"] = hashlib.sha256(own.read_bytes()).hexdigest()
    suites, kernels = bench.read_all(results)
    for path in [*suites, *([bench.KERNELS] if kernels else [])]:
        digests[path] = hashlib.sha256((results / path).read_bytes()).hexdigest()
    return Inputs(records, scored, prices(results), suites, kernels, digests)


def _records(results: Path) -> tuple[list[Record], dict[str, str]]:
    """The records as views need them, and the digests of their files.

    What is equal in many records is held once, and the training losses, which no view shows and
    which are most of a record, are left out: ten thousand records take a few hundred megabytes.
    """
    records, digests = [], {}
    shared: dict[str, Any] = {}
    collecting = gc.isenabled()
    gc.disable()  # records hold no cycles; looking for some would take most of the time
    try:
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
    finally:
        if collecting:
            gc.freeze()  # nor will there be any later
            gc.enable()
    return records, digests


def build(inputs: Inputs) -> Document:
    """The whole card."""
    parts = _parts(inputs)
    shown = [part for part in parts if not isinstance(part, str)]
    return Document(
        text="\n\n".join(_text(part) for part in parts) + "\n",
        figures=tuple(view for view in shown if isinstance(view, Figure)),
        index=cells.of(shown, inputs.digests),
    )


def _parts(inputs: Inputs) -> list[Part]:
    if not (inputs.records or inputs.evaluations or inputs.suites or inputs.kernels):
        return [prose.HEAD, prose.EMPTY]
    found = sections(inputs.records)
    return [
        metadata.front_matter(found, inputs.evaluations, pipeline.datasets()),
        prose.HEAD,
        *_answers(found),
        prose.DETAILS,
        prose.USES,
        prose.RISKS,
        prose.START,
        prose.DATA,
        pipeline.mixes(),
        prose.DATA_OF_RUNS,
        prose.PROCEDURE,
        pipeline.commands(),
        pipeline.issues(),
        prose.HYPERPARAMETERS,
        pipeline.hyperparameters(),
        pipeline.settings(),
        prose.SPEED,
        rented.cost(inputs.records, inputs.prices),
        prose.BENCHES,
        *_benches(inputs),
        prose.EVALUATION,
        *_results(found, inputs.evaluations),
        prose.EXAMINATION,
        prose.IMPACT,
        *([hours.impact(inputs.records)] if inputs.records else []),
        prose.SPECIFICATIONS,
        architecture.architecture("smol show dense_vs_moe --scale full"),
        prose.INFRASTRUCTURE,
        prose.GLOSSARY,
    ]


def _answers(found: Sequence[Section]) -> list[Part]:
    table = answers.answers(found)
    return [] if table is None else [prose.ANSWERS, table]


def _benches(inputs: Inputs) -> list[Part]:
    parts: list[Part] = []
    for path, suite in inputs.suites.items():
        if not suite.rows:
            continue
        parts.append(benches.table(path, suite))
        if figure := benches.figure(path, suite):
            parts.append(figure)
    if not parts:
        parts.append(prose.NO_BENCH)
    kernels = inputs.kernels
    return [*parts, benches.kernels(kernels) if kernels and kernels.errors else prose.NO_KERNELS]


def _results(found: Sequence[Section], scored: Sequence[Evaluation]) -> list[Part]:
    parts: list[Part] = []
    device = None
    for section in found:
        if section.device != device:
            device = section.device
            kind = devices.of(device)
            parts += [text for text in (kind.heading, kind.note) if text]
        parts += _section(section)
    if scored:
        parts += [prose.REFERENCES, *references.tables(scored)]
    return parts


def _section(section: Section) -> list[Part]:
    scope, *tables = views.tables(section)
    return [
        f"#### {answers.heading(section)}",
        escape(section.group.question.summary),
        scope,
        *views.figures(section),
        *(
            f"View `{escape(name)}` is not here: {escape(why)}."
            for name, why in views.missing(section).items()
        ),
        *tables,
    ]


def _text(part: Part) -> str:
    if isinstance(part, Table):
        return markdown(part)
    if isinstance(part, Figure):
        image = f"![{one_line(part.alt)}]({fresh.FOLDER}/{part.file})"
        return fence(part.name, f"{image}\n\n{escape(part.caption)}")
    return part
