"""A run on another machine: what it needs goes there, and what it leaves comes back meanwhile.

The launcher's side is a `Keeper`, which reads and writes files where the launcher works. The other
side is `work`, which runs one job as the local launcher does, in a folder of its own, and asks the
keeper for everything. How a question travels (`Ask`) is somebody else's business. No torch.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from harness.code.provenance import ROOT
from harness.data.cache import build_once, cache_root
from harness.data.manifest import MANIFEST
from harness.files import TEMPORARY, sha256
from harness.launch.launchers.local import LAUNCHER as HERE
from harness.launch.protocol import Job, RunFiles

PIECE_BYTES = 16 * 2**20
ASK_SECONDS = 0.3
"""How often a run's progress and its checkpoints go to the launcher."""
LITTER_SECONDS = 300.0
"""How long a child may still save its state in the folder of a worker that died."""
FOLDERS = "smol-away-"

Ask = Callable[..., Any]
"""`ask("read", path, 0)` calls the keeper's method `read`, wherever the keeper is."""


class Superseded(Exception):
    """Another worker has begun with the same run: this one was thought dead."""


class Keeper:
    """Reads and writes the launcher's files for the workers. Of the workers on one run only the
    last that began is heard."""

    def __init__(self) -> None:
        self._workers: dict[str, str] = {}
        self._stopping = False

    def stop(self) -> None:
        """Tell every worker, when it asks next, to save its run's state and end."""
        self._stopping = True

    def begin(self, key: str, worker: str) -> None:
        """From now on this worker is the one on the run of that key."""
        self._workers[key] = worker

    def hear(self, key: str, worker: str, log: str, lines: bytes) -> bool:
        """Append whole lines to a run's log; whether the run is to stop. Raises Superseded."""
        self._check(key, worker)
        if lines:
            with open(log, "ab") as file:
                file.write(lines)
        return self._stopping

    def files(self, path: str) -> list[tuple[str, str]]:
        """(name below `path`, SHA-256) of a file, whose name is empty, or of all in a folder."""
        place = Path(path)
        if place.is_file():
            return [("", sha256(place))]
        found = sorted(file for file in place.rglob("*") if file.is_file())
        return [(file.relative_to(place).as_posix(), sha256(file)) for file in found]

    def read(self, path: str, offset: int) -> bytes:
        """A piece of a file; empty behind its end."""
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)

    def write(
        self, key: str, worker: str, path: str, offset: int, piece: bytes, digest: str | None
    ) -> None:
        """A piece of a file that stands at `path` once the last piece, which brings the digest of
        the whole, is there. Raises Superseded, or OSError where it did not arrive whole."""
        self._check(key, worker)
        place = Path(path)
        temporary = place.with_name(f"{TEMPORARY}{worker[:8]}-{place.name}")
        with open(temporary, "r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest is None:
            return
        if sha256(temporary) != digest:
            temporary.unlink()
            raise OSError(f"{place.name} did not arrive as it was sent")
        os.replace(temporary, place)

    def _check(self, key: str, worker: str) -> None:
        if self._workers.setdefault(key, worker) != worker:
            raise Superseded(f"another worker has begun with run {key}")


def work(text: str, ask: Ask) -> str:
    """Run a job (as JSON, with the launcher's paths) here; returns its record as JSON.

    It goes on from the last checkpoint that reached the keeper. The code that runs is the one that
    this module belongs to.
    """
    asked = Job.model_validate_json(text, strict=False)
    key, worker = asked.run.key, uuid.uuid4().hex
    ask("begin", key, worker)
    _clean()
    with tempfile.TemporaryDirectory(prefix=f"{FOLDERS}{os.getpid()}-") as folder:
        job = _fetch(asked, Path(folder), ask)
        task = HERE.start(job, ROOT)
        courier = _Courier(asked, job.files, ask, worker)
        try:
            while not HERE.poll(task):
                if courier.carry():
                    HERE.stop([task])
                time.sleep(ASK_SECONDS if task.tail.update else 0.05)
                task.tail.poll()
        except BaseException:
            HERE.stop([task])
            raise
        record = HERE.collect(task)
        courier.carry(all_of_it=True)
        return record.model_dump_json()


def _fetch(asked: Job, here: Path, ask: Ask) -> Job:
    """The job with the paths that it has on this machine, and the files that it needs there."""
    run, digest = asked.run, asked.code.source_digest
    mine = here / "run"
    mine.mkdir()
    there, files = asked.files, RunFiles(mine)
    passed = [(there.branch(at, digest), files.branch(at, digest)) for at in run.branch_at]
    for source, target in [*passed, (there.checkpoint, files.checkpoint)]:
        _get(source, target, ask)
    changed: dict[str, Any] = {"folder": str(mine), "results": str(here / "results")}
    if asked.parent_folder is not None:
        parent, ours = RunFiles(Path(asked.parent_folder)), RunFiles(here / "parent")
        at = run.first_update
        _get(parent.final, ours.final, ask) if run.start == "final" else _get(
            parent.branch(at, digest), ours.branch(at, digest), ask
        )
        changed["parent_folder"] = str(ours.folder)
    if asked.given is not None:
        _get(Path(asked.given), here / "given", ask)
        changed["given"] = str(here / "given")
    return asked.model_copy(update={**changed, "data_folder": str(_data(asked.data_folder, ask))})


def _data(folder: str, ask: Ask) -> Path:
    """The prepared data on this machine, brought once a machine and known by its digest."""
    ((_, digest),) = ask("files", str(Path(folder) / MANIFEST))
    place = cache_root() / "away" / digest
    build_once(place, lambda new: _get(Path(folder), new, ask))
    return place


def _get(source: Path, target: Path, ask: Ask) -> None:
    """Copy a file or a folder's files from the keeper; nothing where there is none. Raises OSError
    for a file that did not arrive as it was."""
    for name, digest in ask("files", str(source)):
        place = target / name if name else target
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "wb") as file:
            while piece := ask("read", str(source / name), file.tell()):
                file.write(piece)
        if sha256(place) != digest:
            raise OSError(f"{place.name} did not arrive as it was sent")


class _Courier:
    """Takes what a run writes to the keeper: whole lines of its log, and files that changed."""

    def __init__(self, asked: Job, files: RunFiles, ask: Ask, worker: str) -> None:
        self._there, self._here, self._ask = asked.files, files, ask
        self._said = (asked.run.key, worker)
        digest = asked.code.source_digest
        # Branches first: a checkpoint is worth nothing without those that it has passed.
        names = [files.branch(at, digest).name for at in asked.run.branch_at]
        self._names = (*names, files.checkpoint.name)
        self._last = (files.final.name, files.summary.name, files.log.name, files.fault.name)
        self._offset = 0
        # What was brought here need not go back.
        self._seen = {name: self._state(name) for name in self._names}

    def carry(self, *, all_of_it: bool = False) -> bool:
        """Whether the run is to stop. Raises what the keeper raises."""
        for name in (*self._names, *(self._last if all_of_it else ())):
            state = self._state(name)
            if state is not None and state != self._seen.get(name):
                self._send(name)
                self._seen[name] = state
        stop = self._ask("hear", *self._said, str(self._there.metrics), self._lines())
        return bool(stop)

    def _state(self, name: str) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            found = (self._here.folder / name).stat()
            return found.st_mtime_ns, found.st_ino
        return None

    def _lines(self) -> bytes:
        with suppress(FileNotFoundError), open(self._here.metrics, "rb") as file:
            file.seek(self._offset)
            text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._offset += len(whole)
            return whole
        return b""

    def _send(self, name: str) -> None:
        target, offset, digest = str(self._there.folder / name), 0, hashlib.sha256()
        for piece, last in _pieces(self._here.folder / name):
            digest.update(piece)
            whole = digest.hexdigest() if last else None
            self._ask("write", *self._said, target, offset, piece, whole)
            offset += len(piece)


def _pieces(path: Path) -> Iterator[tuple[bytes, bool]]:
    """A file's bytes, piece by piece, and whether a piece is the last. The file is the one that
    stood there at the beginning, though another may take its place meanwhile."""
    with open(path, "rb") as file:
        piece = file.read(PIECE_BYTES)
        while True:
            after = file.read(PIECE_BYTES)
            yield piece, not after
            if not after:
                return
            piece = after


def _clean() -> None:
    """Remove the folders of workers that died on this machine, once nobody can be writing there."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        number = folder.name.removeprefix(FOLDERS).partition("-")[0]
        with suppress(OSError, ValueError):
            old = time.time() - folder.stat().st_mtime > LITTER_SECONDS
            if old and not psutil.pid_exists(int(number)):
                shutil.rmtree(folder, ignore_errors=True)
