"""What a run of somebody else's script leaves: its record, and the text of what was run.

`<results>/scripts/<name>/<arm>/<key>.<attempt>.json`, one a run, immutable; beside them
`source.<digest>.json`, one for each version of the arm's files. Validated on the way in and on the
way out. No host name, user name or absolute path enters but what a script's own text holds.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal, Self, TypeVar
from urllib.parse import quote, unquote

from pydantic import ValidationError, model_validator

from harness.config import Frozen
from harness.errors import RequestError, explain
from harness.files import read_regular, write_atomically
from harness.records.schema import Hardware
from harness.records.store import check_writable, files_below, to_json
from harness.records.untrusted import MAX_JSON_BYTES, read_json

FOLDER = "scripts"
PAGES = (".md", ".svg")
"""What is drawn from the records, and lies beside them."""

End = Literal["ok", "failed", "timeout", "oom", "killed"]

_RECORD = re.compile(r"(?P<key>[0-9a-f]{16})\.(?P<attempt>[0-9]+)\.json")
_SOURCE = re.compile(r"source\.(?P<digest>[0-9a-f]{16})\.json")
QUESTION = "question.json"
"""What a comparison asked last: the page and the card answer it from the records alone."""


class ScriptQuestion(Frozen):
    """What was asked when a run was started, so that a later question can be told from it."""

    baseline: str
    baseline_digest: str
    seeds: int
    first_seed: int
    metric: str | None
    """As asked for; None left it to the script."""

    @property
    def frozen_seeds(self) -> range:
        """The seeds that the verdict needs, all of them."""
        return range(self.first_seed, self.first_seed + self.seeds)


class ScriptRecord(Frozen):
    """One run of one arm: (files, command, seed, repeat) on one kind of machine."""

    schema_version: Literal[1]
    key: str
    """Hash of everything that can change the result: files, command, seed, repeat, format, device
    class and software."""
    attempt: int
    created: str
    """UTC, ISO 8601, to the second."""
    name: str
    """What the comparison is called; records of one name share a folder and a page."""
    arm: str
    arm_digest: str
    """The digest of every file that was run, see the arm's `ScriptSource`."""
    seed: int
    repeat: int
    """0; 1 is the same seed once more, which shows the script's own noise."""
    question: ScriptQuestion
    command: str
    """As given, `{seed}` unfilled, a program's folder left out."""
    format: str
    budget_seconds: float
    """A run that takes longer is ended."""
    memory_limit: int | None
    """Bytes; a run that takes more is ended."""
    call: str
    """When the command that started it began, UTC: runs of one call were interleaved."""
    place: int
    """Which run of the call it was, counted from 0."""
    status: End
    reason: str | None
    """One line for what is not `ok`."""
    exit_code: int | None
    """None where the run was ended by a signal."""
    seconds: float
    """Wall clock, start to end."""
    peak_bytes: int | None
    """Memory of the process and all its children together, as sampled; None where unknown."""
    reported: dict[str, float]
    """Every finite number that the script reported, by name."""
    not_finite: tuple[str, ...]
    """Names that it reported as NaN or infinity."""
    directions: dict[str, Literal["lower", "higher"]]
    """Where the script's own output, or its format, says which way is better."""
    curves: dict[str, tuple[tuple[float, float], ...]]
    """Name -> (step, value) along the run, thinned."""
    reading_fault: str | None
    """Why its output could not be read, in one line."""
    notes: tuple[str, ...]
    """What else was seen: children left running, files written outside, a shared GPU."""
    broken: str | None
    """Why the run does not count although it ended well: a frozen file was edited."""
    output: str
    """The end of what it printed; absolute paths shortened to `…/`."""
    output_bytes: int
    """All that it printed."""
    device: str
    hardware: Hardware
    software: dict[str, str]
    """Versions that the command's own Python sees; empty where it is no Python."""
    points_only: tuple[str, ...] = ()
    """Names of which it printed points along the run and no result at its end."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.status == "ok") != (self.reason is None):
            raise ValueError(f"status is {self.status}, and its reason {self.reason!r}")
        if self.status == "ok" and self.exit_code != 0:
            raise ValueError(f"status is ok, and exit_code {self.exit_code}")
        if self.seconds < 0.0 or self.attempt < 1:
            raise ValueError("a time below zero, or an attempt below one")
        if set(self.reported) & set(self.not_finite):
            raise ValueError("a name is both reported and not finite")
        return self


class ScriptSource(Frozen):
    """One version of an arm's files: digests of all, and the text of what a person may read."""

    schema_version: Literal[1]
    name: str
    arm: str
    digest: str
    origin: str
    """`folder`, or the git commit it was taken from."""
    files: dict[str, str]
    """Path inside the arm -> SHA-256; of a link, `-> ` and nothing of where it leads."""
    texts: dict[str, str]
    """Path -> text, for small files of known text types, as they were."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.digest != files_digest(self.files):
            raise ValueError("digest is not that of files")
        for path, text in self.texts.items():
            if hashlib.sha256(text.encode()).hexdigest() != self.files.get(path):
                raise ValueError(f"the text of '{path}' is not the one that was run")
        return self


class ScriptArm(Frozen):
    """An arm as it was asked about."""

    name: str
    digest: str
    command: str
    """As its records keep it."""
    software: dict[str, str]
    """Versions that its command's Python sees."""


class ScriptSlot(Frozen):
    """A run that an answer needs, by the key of its record."""

    arm: str
    seed: int
    repeat: int
    key: str


class ScriptAsked(Frozen):
    """`question.json`: what a comparison asked when it was last run, with the runs that answer it.
    The only file here that is written anew."""

    schema_version: Literal[1]
    name: str
    recipe: str | None
    """The recipe that declares it; None was asked by `smol referee`."""
    scale: str | None
    summary: str | None
    """The recipe's own words."""
    recipe_seeds: int | None
    """How many seeds the recipe froze."""
    arms: tuple[ScriptArm, ...]
    """The baseline first."""
    metric: str | None
    way: Literal["lower", "higher"] | None
    format: str
    seeds: int
    first_seed: int
    frozen: tuple[str, ...]
    equal: tuple[str, ...]
    device_class: str
    slots: tuple[ScriptSlot, ...]
    """In order, those of a noise floor first."""

    @property
    def frozen_seeds(self) -> range:
        """The seeds of the verdict."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def question(self) -> ScriptQuestion:
        """What each of its runs keeps of it."""
        baseline = self.arms[0]
        return ScriptQuestion(
            baseline=baseline.name, baseline_digest=baseline.digest, seeds=self.seeds,
            first_seed=self.first_seed, metric=self.metric,
        )  # fmt: skip


def files_digest(files: dict[str, str]) -> str:
    """The digest of an arm: 16 hexadecimal digits over the paths and digests of its files."""
    whole = hashlib.sha256()
    for path, one in sorted(files.items()):
        whole.update(f"{one} {path}\n".encode())
    return whole.hexdigest()[:16]


Kind = TypeVar("Kind", ScriptRecord, ScriptSource, ScriptAsked)


def record_path(record: ScriptRecord) -> str:
    """A record's file, relative to the results folder, with forward slashes."""
    return f"{folder_of(record.name, record.arm)}/{record.key}.{record.attempt}.json"


def source_path(source: ScriptSource) -> str:
    """A source's file, relative to the results folder, with forward slashes."""
    return f"{folder_of(source.name, source.arm)}/source.{source.digest}.json"


def folder_of(name: str, arm: str | None = None) -> str:
    """A comparison's folder or, in it, an arm's; relative to the results folder."""
    return "/".join([FOLDER, _part(name), *([] if arm is None else [_part(arm)])])


def _part(name: str) -> str:
    """A name as one folder: a user's own, of which a file system may not take every character."""
    quoted = quote(name, safe="=+@,")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def write_record(results: Path, record: ScriptRecord) -> Path:
    """Write a record and return its path. Immutable: an existing file is never overwritten.

    Raises RequestError for one already there, or a folder that cannot be written.
    """
    path = results / record_path(record)
    if path.exists():
        raise RequestError(
            f"{record_path(record)} is already there, and records are never overwritten"
        )
    _write(results, record_path(record), record)
    return path


def write_source(results: Path, source: ScriptSource) -> None:
    """Keep a version of an arm's files; nothing to do where its digest is there already."""
    if not (results / source_path(source)).exists():
        _write(results, source_path(source), source)


def question_path(name: str) -> str:
    """A comparison's question, relative to the results folder."""
    return f"{folder_of(name)}/{QUESTION}"


def write_question(results: Path, asked: ScriptAsked) -> None:
    """Keep what is asked now; nothing to do where it is what was asked last."""
    if read_question(results, asked.name) != asked:
        _write(results, question_path(asked.name), asked)


def read_question(results: Path, name: str) -> ScriptAsked | None:
    """What a comparison asked last; None where that is not known.

    Raises RequestError for a file that is none.
    """
    path = results / question_path(name)
    return _read(path, question_path(name), ScriptAsked) if path.is_file() else None


def _write(results: Path, name: str, content: ScriptRecord | ScriptSource | ScriptAsked) -> None:
    check_writable(results)
    text = to_json(content)
    try:
        again = type(content).model_validate_json(text)
    except ValidationError as error:
        raise RequestError(f"{name} would not be valid: {explain(error)}") from None
    if again != content:
        raise RequestError(f"{name} would not be read back as it was written")
    try:
        write_atomically(results / name, text)
    except OSError as error:
        raise RequestError(f"{name} could not be written: {error.strerror}") from None


def read_name(results: Path, name: str) -> tuple[list[ScriptRecord], list[ScriptSource]]:
    """All that a comparison has left, records in order of attempts; empty where there is nothing.

    Hidden files (a writing that was cut off) are passed over. Raises RequestError naming the file
    for anything else that is neither record nor source nor page.
    """
    records, sources = [], []
    for path in files_below(results / folder_of(name)):
        relative = path.relative_to(results).as_posix()
        if path.name.startswith(".") or path.suffix in PAGES or path.name == QUESTION:
            continue
        if _RECORD.fullmatch(path.name):
            record = _read(path, relative, ScriptRecord)
            _refuse_misplaced(relative, record_path(record))
            records.append(record)
        elif _SOURCE.fullmatch(path.name):
            source = _read(path, relative, ScriptSource)
            _refuse_misplaced(relative, source_path(source))
            sources.append(source)
        else:
            raise RequestError(f"{relative} is neither a script's record nor its source")
    return sorted(records, key=lambda r: (r.key, r.attempt)), sources


def read_record(results: Path, relative: str) -> ScriptRecord:
    """One record by its path in the results folder. Raises RequestError for a file that is none."""
    return _read(results / relative, relative, ScriptRecord)


def names(results: Path) -> list[str]:
    """The comparisons that have left anything."""
    folder = results / FOLDER
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(unquote(path.name) for path in found if path.is_dir())


def newest(records: list[ScriptRecord]) -> dict[str, ScriptRecord]:
    """Key -> its last attempt."""
    return {record.key: record for record in sorted(records, key=lambda r: r.attempt)}


def _read(path: Path, relative: str, kind: type[Kind]) -> Kind:
    try:
        # A source's text is what was run, and known by its digest: it is shown escaped instead.
        read = read_regular if kind is ScriptSource else read_json
        return kind.model_validate_json(read(path, MAX_JSON_BYTES))
    except OSError as error:
        raise RequestError(f"{relative} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise RequestError(f"{relative} is not valid: {explain(error)}") from None


def _refuse_misplaced(relative: str, own: str) -> None:
    if own != relative:
        raise RequestError(f"{relative} says of itself that it is {own}")
