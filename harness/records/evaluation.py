"""Evaluations: what a model scored on a text, as files that the card shows.

`<results>/evaluations/<text>.<digest>/<subject>.<context>.json`. Unlike a run's record an
evaluation can be made again from the weights at any time, so a newer one replaces it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, model_validator

from harness.config import MOST_TOKENS, Frozen
from harness.errors import RequestError, explain
from harness.files import write_atomically
from harness.records.schema import Code, Command
from harness.records.store import check_writable, files_below
from harness.records.untrusted import read_json

FOLDER = "evaluations"


class Subject(Frozen):
    """The model that was scored."""

    kind: Literal["run", "asset", "checkpoint", "folder"]
    name: str
    """`recipe/arm/seed/stage` of a run, the name of a released model, else of the file."""
    digest: str
    """A run's key; else the SHA-256 of the weights."""
    scale: str | None
    """The scale of the run that was evaluated; None for any other model."""
    detail: str
    """For a released model: where its weights came from, and what was done to them."""
    total_parameters: int
    active_parameters: int


class Unigram(Frozen):
    """The model that only counts tokens, on the same text: add-one-smoothed counts of the
    subject's own training tokens."""

    nats: float
    bits_per_byte: float
    data_digest: str
    """The digest of the manifest of the tokens that the model was trained on."""


class Evaluation(Frozen):
    """One model's score on one text."""

    schema_version: Literal[1]
    created: str
    """UTC, ISO 8601, to the second."""
    subject: Subject
    text: str
    text_digest: str
    tokenizer_digest: str
    """SHA-256 of tokenizer.json."""
    documents: int
    tokens: int = Field(le=MOST_TOKENS)
    """Scored."""
    bytes: int = Field(le=MOST_TOKENS)
    """UTF-8 bytes of the scored text."""
    nats: float
    """Summed over the scored tokens."""
    bits_per_byte: float
    interval: tuple[float, float] | None
    """95 % percentile bootstrap over documents; None below two documents."""
    resamples: int
    context: int
    """Tokens of context at most."""
    dtype: Literal["bf16", "fp32", "fp64"]
    """The precision of the forward pass."""
    unigram: Unigram | None
    document_nats: tuple[float, ...]
    """Rounded to 1e-3."""
    document_bytes: tuple[int, ...]
    device_class: str
    software: dict[str, str]
    code: Code
    command: Command

    @property
    def loss(self) -> float:
        """Nats a scored token; depends on the tokenizer."""
        return self.nats / self.tokens

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if min(self.tokens, self.bytes, self.documents) < 1:
            raise ValueError("an evaluation of nothing")
        if not math.isfinite(self.nats) or self.nats < 0.0:
            raise ValueError(f"nats is {self.nats}")
        if not math.isclose(self.bits_per_byte, self.nats / math.log(2) / self.bytes):
            raise ValueError("bits_per_byte is not nats / ln 2 / bytes")
        if len(self.document_nats) != self.documents or len(self.document_bytes) != self.documents:
            raise ValueError("not one value a document")
        # Half of the last digit kept, for each document.
        if abs(sum(self.document_nats) - self.nats) > 0.5e-3 * self.documents + 1e-6 * self.nats:
            raise ValueError("the documents' nats do not sum to nats")
        if sum(self.document_bytes) != self.bytes:
            raise ValueError("the documents' bytes do not sum to bytes")
        return self


def path_of(evaluation: Evaluation) -> str:
    """Its file, relative to the results folder, with forward slashes."""
    subject = evaluation.subject
    name = subject.digest if subject.kind == "run" else f"{subject.name}-{subject.digest[:12]}"
    folder = f"{_part(evaluation.text)}.{evaluation.text_digest[:12]}"
    return f"{FOLDER}/{folder}/{_part(name)}.{evaluation.context}.json"


def _part(name: str) -> str:
    quoted = quote(name, safe="=+@,")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def write(results: Path, evaluation: Evaluation) -> Path:
    """Put it in its place, whole or not at all. Raises RequestError where that cannot be."""
    check_writable(results)
    path = results / path_of(evaluation)
    text = evaluation.model_dump_json(indent=None) + "\n"
    try:
        again = Evaluation.model_validate_json(text)
    except ValidationError as error:
        raise RequestError(f"{path_of(evaluation)} would not be valid: {explain(error)}") from None
    if again != evaluation:
        raise RequestError(f"{path_of(evaluation)} would not be read back as it was written")
    try:
        write_atomically(path, text)
    except OSError as error:
        raise RequestError(f"{path_of(evaluation)} cannot be written: {error.strerror}") from None
    return path


def read_all(results: Path) -> list[Evaluation]:
    """All evaluations of a results folder, in order of their paths; hidden files passed over.

    Raises RequestError naming the file for anything else that is not one in its place.
    """
    found = []
    for path in files_below(results / FOLDER):
        inside = path.relative_to(results)
        if any(part.startswith(".") for part in inside.parts):
            continue
        found.append(read(path, inside.as_posix()))
    return found


def read(path: Path, name: str) -> Evaluation:
    """One evaluation; `name` is how messages call it, and where it says that it belongs.

    Raises RequestError for a foreign or corrupt file, or one that was moved or renamed.
    """
    try:
        evaluation = Evaluation.model_validate_json(read_json(path))
    except OSError as error:
        raise RequestError(f"{name} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise RequestError(f"{name} is not a valid evaluation: {explain(error)}") from None
    if path_of(evaluation) != name:
        raise RequestError(f"{name} says of itself that it is {path_of(evaluation)}")
    return evaluation
