"""From a row to what was run: record, command, digests, and how the arm's files differ from the
baseline's, from the kept text alone, whatever became of the user's folders."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from harness.errors import RequestError, nearest
from harness.records import foreign
from harness.records.foreign import ScriptRecord, ScriptSource, record_path, source_path
from harness.referee.output import duration, last_line

LINES = 200
"""The most lines that are shown of one file's difference."""


def trace(results: Path, cell: str) -> str:
    """The origin of `[NAME/]ARM/SEED[/again]`. Raises RequestError for an unknown one."""
    name, arm, seed, repeat = _parse(results, cell)
    records, sources = foreign.read_name(results, name)
    # Arms of the very same files share their runs, which lie where the first of them ran.
    versions: dict[str, set[str]] = {}
    held = [(r.arm, r.arm_digest) for r in records] + [(s.arm, s.digest) for s in sources]
    for of_arm, digest in held:
        versions.setdefault(of_arm, set()).add(digest)
    runs = [r for r in records if r.arm_digest in versions.get(arm, ())]
    matching = [r for r in runs if r.seed == seed and r.repeat == repeat]
    if not matching:
        known = sorted(
            f"{one}/{r.seed}" for one, digests in versions.items() for r in records
            if r.arm_digest in digests and not r.repeat
        )  # fmt: skip
        raise RequestError(f"no run '{arm}/{seed}' in '{name}'{nearest(f'{arm}/{seed}', known)}")
    matching = [r for r in matching if r.arm == arm] or matching
    record = max(matching, key=lambda r: (r.created, r.attempt))
    by_digest = {source.digest: source for source in sources}
    shared = [] if record.arm == arm else [f"run as   {record.arm}, whose files are the very same"]
    lines = [*_facts(record), *shared, *_files(record, by_digest), *_older(record, matching)]
    return "\n".join(lines)


def _parse(results: Path, cell: str) -> tuple[str, str, int, int]:
    again = cell.endswith("/again")
    parts = cell.removesuffix("/again").split("/")
    if len(parts) == 2:
        known = foreign.names(results)
        if len(known) != 1:
            raise RequestError(f"--trace '{cell}': NAME/ARM/SEED{nearest(cell, known)}")
        parts = [known[0], *parts]
    if len(parts) != 3 or not parts[2].isdigit():
        raise RequestError(f"--trace takes NAME/ARM/SEED, not '{cell}'")
    return parts[0], parts[1], int(parts[2]), int(again)


def _facts(record: ScriptRecord) -> list[str]:
    software = ", ".join(f"{k} {v}" for k, v in sorted(record.software.items()))
    reported = ", ".join(f"{name} {value:.6g}" for name, value in record.reported.items())
    argument = record.command.replace("{seed}", str(record.seed))
    lines = [
        f"record   {record_path(record)}, {record.created}",
        f"end      {record.status}{f': {record.reason}' if record.reason else ''}, "
        f"{duration(record.seconds)}",
        f"reported {reported or 'nothing'}",
    ]
    for fault in (record.reading_fault, record.broken, *record.notes):
        lines += [f"seen     {fault}"] if fault else []
    if record.status != "ok":
        lines.append(f"said     {last_line(record.output)}")
    return [
        *lines,
        f"machine  {record.hardware.device_class}; {software or 'software not known'}",
        f"files    {record.arm_digest}",
        f"again    SMOL_SEED={record.seed} {argument}   # in a folder with these files",
    ]


def _files(record: ScriptRecord, sources: dict[str, ScriptSource]) -> list[str]:
    own = sources.get(record.arm_digest)
    if own is None:
        return ["the text of its files is not among the records"]
    lines = [f"source   {source_path(own)} ({own.origin}, {len(own.files)} files)"]
    baseline = sources.get(record.question.baseline_digest)
    if baseline is None or baseline.digest == own.digest:
        return [*lines, *(f"  {digest[:16]} {path}" for path, digest in own.files.items())]
    lines.append(f"against  {record.question.baseline}, {baseline.digest}")
    for path in sorted({*own.files, *baseline.files}):
        if own.files.get(path) != baseline.files.get(path):
            lines += _difference(path, (record.question.baseline, baseline), (record.arm, own))
    return lines


def _difference(
    path: str, first: tuple[str, ScriptSource], second: tuple[str, ScriptSource]
) -> list[str]:
    """How one file differs, the two sides by the names of their arms."""
    (name, before), (other, after) = first, second
    if not any(path in source.texts for source in (before, after)):
        digests = (s.files.get(path, "absent")[:16] for s in (before, after))
        return [f"{path}: {' -> '.join(digests)} (no text kept)"]
    old, new = (s.texts.get(path, "").splitlines() for s in (before, after))
    found = list(difflib.unified_diff(old, new, f"{name}/{path}", f"{other}/{path}", lineterm=""))
    left = len(found) - LINES
    return found[:LINES] + ([f"... {left} more lines"] if left > 0 else [])


def _older(record: ScriptRecord, matching: Sequence[ScriptRecord]) -> list[str]:
    others = [record_path(r) for r in matching if r is not record]
    return [f"other runs of this arm and seed: {', '.join(others)}"] if others else []


def told(results: Path, records: Sequence[ScriptRecord]) -> list[str]:
    """Of each arm among the records: the digest of its files, what they differ in from the
    baseline's, and the command that runs them; once an arm."""
    lines: list[str] = []
    for record in {(r.arm, r.arm_digest, r.command): r for r in records}.values():
        _, sources = foreign.read_name(results, record.name)
        command = record.command.replace("{seed}", str(record.seed))
        lines += [
            f"arm {record.arm}, files {record.arm_digest}",
            *(f"  {line}" for line in _files(record, {s.digest: s for s in sources})),
            f"reproduce    SMOL_SEED={record.seed} {command}   # in a folder with these files",
        ]
    return lines
