"""Carrying out one slot: a folder of its own, the run, its reading, its record."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from harness.machine import devices, surroundings
from harness.records import foreign
from harness.records.foreign import ScriptQuestion, ScriptRecord
from harness.referee import arms as taking
from harness.referee import fairness
from harness.referee.arms import ForeignArm
from harness.referee.output import anonymous, for_record
from harness.referee.planning import ForeignRun, RefereeRequest
from harness.referee.processes import Family
from harness.referee.reading import Reading
from harness.referee.running import Ended, execute

LARGEST_RESULT = 64 * 2**20
"""Bytes of a result file that is read."""
WATCHED_FILES = 5_000
"""How many files of the user's folder are watched, to tell what changed there."""
GPU_LOCK = Path(tempfile.gettempdir()) / "smol-referee-gpu.lock"
"""Two referees on one machine take the GPU in turn."""
GPU_PATIENCE = 60.0
"""Seconds for others to leave the GPU."""
NAMED = 3
"""Outside places named in a note."""


@dataclass(frozen=True)
class Call:
    """What all runs of one command share."""

    request: RefereeRequest
    question: ScriptQuestion
    begun: str
    shared_from: Path


def runs_folder(request: RefereeRequest) -> Path:
    """Where the runs of a comparison lie while they go on."""
    return request.work / "runs" / request.name


def copies(work: Path, name: str) -> Path:
    """Where the arms of a comparison are copied to."""
    return work / "arms" / name


def sweep(request: RefereeRequest, arms: Sequence[ForeignArm]) -> int:
    """End what a killed referee left running, delete what it left lying and copies of versions
    that are no arm now; returns the number of processes.

    Only while the comparison's lock is held: another's runs look the same.
    """
    ended = 0
    taking.forget(copies(request.work, request.name), arms)
    folder = runs_folder(request)
    for left in sorted(folder.iterdir()) if folder.is_dir() else []:
        ended += Family(_mark(left), since_now=False, folder=left).end()
        taking.remove(left)
    return ended


def _mark(folder: Path) -> str:
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def carry_out(call: Call, slot: ForeignRun, place: int, attempt: int) -> ScriptRecord:
    """Run a slot and write its record. Whatever the run does, a record is the answer."""
    request = call.request
    room = runs_folder(request) / slot.key
    taking.remove(room)
    here, temporary = room / "here", room / "tmp"
    temporary.mkdir(parents=True)
    taking.lay_out(slot.arm, here, request.shared, call.shared_from)
    written = _written_at(request, slot, here)
    before, beside = _stamps(slot.arm.place, request), _beside(slot.arm)
    try:
        with FileLock(GPU_LOCK) if request.on_gpu else nullcontext():
            shared_gpu = _wait_for_gpu(request.device) if request.on_gpu else None
            ended = execute(
                [part.replace("{seed}", str(slot.seed)) for part in slot.conditions.command], here,
                _environment(request, slot, temporary), _mark(room),
                budget=request.budget, memory_limit=request.memory_limit,
            )  # fmt: skip
        reading = _read(request, slot, here, ended)
        broken = shared_gpu or _edited(request, slot, here, written)
        notes = _notes(ended, room, _changed(slot.arm.place, before, request))
        if new := sorted(_beside(slot.arm) - beside - ended.outside):
            shown = _few([anonymous(path) for path in new])
            notes += (f"new outside its folder since it began, perhaps its own: {shown}",)
        seen = _Seen(ended, reading, broken, notes, here)
        record = _record(call, slot, place, attempt, seen)
        foreign.write_record(request.results, record)
    finally:
        taking.remove(room)
    return record


def _environment(request: RefereeRequest, slot: ForeignRun, temporary: Path) -> dict[str, str]:
    environment = {
        "PYTHONUNBUFFERED": "1",  # else a run that is ended takes its last lines along
        **os.environ,
        "SMOL_SEED": str(slot.seed),
        "TMPDIR": str(temporary.resolve()),
    }
    if not request.on_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def _wait_for_gpu(device: str) -> str | None:
    """None once the GPU is free; else why the run does not count."""
    deadline = time.monotonic() + GPU_PATIENCE
    while True:
        gpu = surroundings.state(device, None).gpu
        others = gpu.processes if gpu is not None else 0
        if not others:
            return None
        if time.monotonic() > deadline:
            return f"the GPU was shared with {others} other processes"
        time.sleep(1.0)


def _read(request: RefereeRequest, slot: ForeignRun, here: Path, ended: Ended) -> Reading:
    """What the run reported; a run that did not end well may still have reported something."""
    chosen = request.format
    if chosen.where is None:
        return chosen.read(ended.output.text())
    found = [p for p in here.glob(chosen.where) if p.is_file() and _written(slot, here, p)]
    if not found:
        return Reading(fault=f"it wrote no file '{chosen.where}'")
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)
    if newest.stat().st_size > LARGEST_RESULT:
        return Reading(fault=f"its '{chosen.where}' is larger than {LARGEST_RESULT // 2**20} MiB")
    reading = chosen.read(newest.read_text("utf-8", errors="replace"))
    if reading.fault is not None:
        reading.fault = f"{newest.relative_to(here).as_posix()}: {reading.fault}"
    return reading


def _written(slot: ForeignRun, here: Path, path: Path) -> bool:
    """Whether a file is of this run, and not one that lay in the arm's folder already."""
    known = slot.arm.files.get(path.relative_to(here).as_posix())
    return known is None or known != _digest(path)


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _written_at(request: RefereeRequest, slot: ForeignRun, here: Path) -> dict[str, int | None]:
    """When each frozen file was last changed, which a program cannot set; None is gone."""
    stamps: dict[str, int | None] = {}
    for relative in fairness.frozen_files(request.frozen, slot.arm.files):
        try:
            stamps[relative] = os.stat(here / relative).st_ctime_ns
        except OSError:
            stamps[relative] = None
    return stamps


def _edited(
    request: RefereeRequest, slot: ForeignRun, here: Path, before: dict[str, int | None]
) -> str | None:
    """Why a run does not count: it changed a file that was declared frozen, or wrote to it and
    put it back."""
    after = _written_at(request, slot, here)
    for relative, stamp in before.items():
        if slot.arm.files[relative] == taking.LINK:
            continue
        if slot.arm.files[relative] != _digest(here / relative):
            return f"it edited the frozen file '{relative}' while it ran"
        if after[relative] != stamp:
            return f"it wrote to the frozen file '{relative}' while it ran"
    return None


def _stamps(folder: Path, request: RefereeRequest) -> dict[str, tuple[int, int]]:
    """Size and time of the files of the user's folder, as far as they are watched."""
    ours = {request.results.resolve(), request.work.resolve()}
    stamps: dict[str, tuple[int, int]] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name for name in folders
            if name not in taking.SKIPPED and (Path(place) / name).resolve() not in ours
        ]  # fmt: skip
        for name in names:
            if len(stamps) >= WATCHED_FILES:
                return stamps
            try:
                seen = os.stat(Path(place) / name)
            except OSError:
                continue
            stamps[os.path.relpath(Path(place) / name, folder)] = (seen.st_size, seen.st_mtime_ns)
    return stamps


def _beside(arm: ForeignArm) -> set[str]:
    """The files, not those in folders, where a script would put something that it means to keep: at
    home, in the working folder, beside the arm's own. Others may write there, too."""
    found: set[str] = set()
    for folder in {Path.home(), Path.cwd(), arm.place.resolve().parent}:
        try:
            with os.scandir(folder) as entries:
                found |= {e.path for e in entries if e.is_file() and not e.name.startswith(".")}
        except OSError:
            continue
    return found


def _changed(
    folder: Path, before: dict[str, tuple[int, int]], request: RefereeRequest
) -> list[str]:
    after = _stamps(folder, request) if before else {}
    return sorted(path for path in after if after[path] != before.get(path))


def _notes(ended: Ended, room: Path, changed: list[str]) -> tuple[str, ...]:
    notes = []
    if ended.strays:
        noun = "process" if ended.strays == 1 else "processes"
        notes.append(f"left {ended.strays} {noun} running, ended")
    beside = [p.name for p in sorted(room.iterdir()) if p.name not in ("here", "tmp")]
    own = str(room.resolve())
    outside = [f"../{name}" for name in beside]
    outside += sorted(anonymous(path) for path in ended.outside if not path.startswith(own))
    if outside:
        notes.append(f"wrote outside its folder: {_few(outside)}")
    if changed:
        notes.append(f"changed in the arm's own folder while it ran: {_few(changed)}")
    return tuple(notes)


def _few(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


@dataclass(frozen=True)
class _Seen:
    """What a run did and left."""

    ended: Ended
    reading: Reading
    broken: str | None
    """Why the run cannot count, whatever it reported."""
    notes: tuple[str, ...]
    here: Path
    """The folder that it ran in, which no record may name."""


def _record(call: Call, slot: ForeignRun, place: int, attempt: int, seen: _Seen) -> ScriptRecord:
    request, ended, reading, here = call.request, seen.ended, seen.reading, seen.here
    return ScriptRecord(
        schema_version=1,
        key=slot.key,
        attempt=attempt,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        name=request.name,
        arm=slot.arm.name,
        arm_digest=slot.arm.digest,
        seed=slot.seed,
        repeat=slot.repeat,
        question=call.question,
        command=command_text(slot.conditions.command),
        format=request.format.text or request.format.name,
        budget_seconds=request.budget,
        memory_limit=request.memory_limit,
        call=call.begun,
        place=place,
        status=ended.status,
        reason=anonymous(ended.reason, here) if ended.reason else None,
        exit_code=ended.exit_code,
        seconds=round(ended.seconds, 4),
        peak_bytes=ended.peak_bytes,
        reported=reading.finite,
        not_finite=reading.not_finite,
        directions=reading.ways,
        curves=reading.thinned(),
        reading_fault=anonymous(reading.fault, here) if reading.fault else None,
        notes=seen.notes,
        broken=seen.broken,
        output=for_record(ended.output.text(), here),
        output_bytes=ended.output.total,
        device=request.device,
        hardware=devices.of(request.device).machine(),
        software=dict(slot.conditions.software),
        points_only=reading.points_only,
    )


def command_text(command: tuple[str, ...]) -> str:
    """A command as a record keeps it: a program's folder is of this machine."""
    parts = [Path(p).name if p.startswith("/") else anonymous(p) for p in command]
    return shlex.join(parts).replace("'{seed}'", "{seed}")
