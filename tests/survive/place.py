"""A folder in which a small recipe is run, by forks of the warm process or plainly; and what must
be true of it in the end, whatever happened to the processes on the way."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import pydoc_data.topics
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from harness.code.provenance import ROOT
from harness.records import store
from harness.train import checkpoint, seal
from tests.e2e.conftest import RECIPE

RUN = ("run", "tiny_rates", "--seeds", "1", "--jobs", "1")
UPDATES, SAVED_EVERY = 12, 3
SMALL = RECIPE.replace("128 * 40", f"128 * {UPDATES}").replace(
    '"train.eval_every": 10', '"train.eval_every": 4'
).replace('"train.checkpoint_every": 7', f'"train.checkpoint_every": {SAVED_EVERY}')  # fmt: skip
ORPHANS_SECONDS = 5.0
PATIENCE = 180.0


class Warm:
    """The warm process; requests of several threads take turns."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.survive.warm"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=_environment(), cwd=ROOT,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *why: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()

    def fork(self, asked: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "1000", "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # fmt: skip


@dataclass
class Ended:
    """How a command ended."""

    code: int
    """-9 where it was killed."""
    out: str
    err: str

    @property
    def clear(self) -> bool:
        """Whether it said no traceback, and its error, if any, in one line."""
        said = [line for line in self.err.splitlines() if line.startswith("smol: ")]
        return "Traceback" not in self.out + self.err and len(said) <= 1


@dataclass
class Command:
    """One that was started."""

    pid: int
    logs: Path
    """The stem of its files."""

    def wait(self, seconds: float = PATIENCE) -> Ended:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if not select.select([handle], [], [], seconds)[0]:
                    os.kill(self.pid, signal.SIGKILL)
                    raise AssertionError(f"no end within {seconds} s: {self._read('out')[-500:]}")
            finally:
                os.close(handle)
        code = self._read("code")
        return Ended(int(code) if code else -9, self._read("out"), self._read("err"))

    def running(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()

    def _read(self, what: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return self.logs.with_suffix(f".{what}").read_text("utf-8", errors="replace")
        return ""


@dataclass
class Place:
    """A user's folder and cache; what is said there is kept beside them."""

    warm: Warm
    root: Path
    disk: Path | None = None
    """Where both lie; `root` where nothing else is said."""
    recipe: str = SMALL
    words: tuple[str, ...] = RUN
    """The command that runs it."""
    _numbers: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.disk = self.disk or self.root
        if not self.folder.exists():
            (self.folder / "recipes").mkdir(parents=True)
            (self.folder / "recipes" / "tiny.py").write_text(self.recipe)
            rows = list(pydoc_data.topics.topics.values())[:24]
            lines = "\n".join(json.dumps({"text": text}) for text in rows)
            (self.folder / "topics.jsonl").write_text(lines)
            self.cache.mkdir()

    @property
    def folder(self) -> Path:
        assert self.disk
        return self.disk / "work"

    @property
    def cache(self) -> Path:
        assert self.disk
        return self.disk / "cache"

    @property
    def results(self) -> Path:
        return self.folder / "results" / "smoke"

    def copied_from(self, other: Place, *, cache: bool = True, work: bool = False) -> Self:
        """Begin with another's cache, or with all that is there."""
        for ours, theirs in [(self.cache, other.cache)] * cache + [
            (self.folder, other.folder)
        ] * work:
            shutil.rmtree(ours)
            shutil.copytree(theirs, ours, symlinks=True)
        return self

    def start(self, *words: str, folder: Path | None = None, **suffers: Any) -> Command:
        """Start `smol` here, warm."""
        logs = self.root / f"said-{next(self._numbers)}"
        asked = {
            "words": words, "folder": str(folder or self.folder), "suffers": suffers,
            "out": f"{logs}.out", "err": f"{logs}.err",
            "env": {"SMOL_CACHE": str(self.cache), "SURVIVE_CODE": f"{logs}.code"},
        }  # fmt: skip
        return Command(self.warm.fork(asked), logs)

    def smol(self, *words: str, **suffers: Any) -> Ended:
        return self.start(*words, **suffers).wait()

    def beside(self, root: Path, disk: Path | None = None) -> Place:
        """Another of the same recipe."""
        return Place(self.warm, root, disk, self.recipe, self.words)

    def cold(self, *words: str, before: str = "") -> subprocess.Popen[str]:
        """Start `smol` here as a user does; `before` is a program that its process runs first."""
        program = f"{before}\nfrom harness.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-P", "-c", program, *words], cwd=self.folder, text=True,
            env={**_environment(), "SMOL_CACHE": str(self.cache)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def plainly(self, before: str) -> Ended:
        """This place's command, so, to its end."""
        process = self.cold(*self.words, before=before)
        out, err = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, out, err)

    def at_work(self) -> set[int]:
        """The processes that work here."""
        found = set()
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if Path(os.readlink(place / "cwd")).is_relative_to(self.folder):
                    state = (place / "stat").read_text().rpartition(")")[2].split()[0]
                    if state != "Z":
                        found.add(int(place.name))
        return found

    def seconds_until_nobody_works(self, at_most: float = 90.0) -> float:
        began = time.monotonic()
        while self.at_work() and time.monotonic() - began < at_most:
            time.sleep(0.02)
        return time.monotonic() - began

    def files(self) -> set[str]:
        """The names of all files here, attempts' numbers left out."""
        assert self.disk
        names = {p.relative_to(self.disk).as_posix() for p in self.disk.rglob("*") if p.is_file()}
        kept = {n for n in names if n.startswith(("work/", "cache/")) and "__pycache__" not in n}
        kept = {n for n in kept if "/.code/" not in n} | {
            n
            for n in kept
            if "/.code/." in n  # of a copy that was begun
        }
        kept = {re.sub(r"checked/[0-9a-f]+", "checked/DIGEST", name) for name in kept}
        return {re.sub(r"(records/.*)\.[0-9]+\.json$", r"\1.json", name) for name in kept}

    def weights(self) -> dict[str, str]:
        """Run -> the digest of what it ended with: its weights, and its losses."""
        found = {}
        for path in sorted((self.folder / "checkpoints").glob("*/*/*/*/final_model.pt")):
            digest = hashlib.sha256()
            try:
                content = checkpoint.load(path)
            except seal.Damaged:
                content = {"model": {}}
            for name, tensor in content["model"].items():
                digest.update(name.encode() + tensor.numpy().tobytes())
            found[path.parent.relative_to(self.folder).as_posix()] = digest.hexdigest()
        for record in store.read_all(self.results):
            if record.status == "ok":
                losses = [point.loss for point in record.training]
                found[f"losses of {record.name}"] = repr(losses)
        return found

    def events(self) -> dict[Path, list[dict[str, Any]]]:
        """Each run's log."""
        logs = (self.folder / "checkpoints").glob("*/*/*/*/metrics.jsonl")
        return {log: lines(log) for log in logs}

    def trained_again(self) -> list[str]:
        """The runs of which an update was made after all of them were, and kept."""
        found = []
        for log, events in self.events().items():
            finished = False
            for event in events:
                if finished and event["event"] == "update":
                    found.append(f"{log.parent.name} was trained again after it had finished")
                    break
                last = event.get("update") == events[0].get("last")
                finished |= event["event"] == "checkpoint" and last
                finished &= event["event"] != "damaged"
        return found

    def faults(self, reference: Reference) -> list[str]:
        """What is not as in a folder where nothing happened."""
        found = self.trained_again()
        if self.at_work():
            found.append("processes are still at work")
        if self.weights() != reference.weights:
            found.append("weights or losses are not bit for bit those of the undisturbed runs")
        names = Counter(r.name for r in store.read_all(self.results) if r.status == "ok")
        if sorted(names.values()) != [1] * reference.runs:
            found.append(f"records: {dict(names)}")
        extra, lost = self.files() - reference.files, reference.files - self.files()
        found += [f"litter: {name}" for name in sorted(extra)]
        found += [f"missing: {name}" for name in sorted(lost)]
        for words in (("card", "--check"), ("records", "check")):
            ended = self.smol(*words, "--results", str(self.results))
            if ended.code:
                found.append(f"{' '.join(words)}: {ended.code}: {(ended.out + ended.err)[:300]}")
        return found


def lines(log: Path) -> list[dict[str, Any]]:
    """The events of a log; a torn line is none."""
    found = []
    for line in log.read_text(errors="replace").splitlines():  # a bit of it may be flipped
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run leaves."""

    place: Place
    weights: dict[str, str]
    files: set[str]
    runs: int

    @classmethod
    def made(cls, place: Place, runs: int = 4, before: str | None = None) -> Reference:
        """Run a place's command there: plainly where `before` is said."""
        ended = place.smol(*place.words) if before is None else place.plainly(before)
        assert ended.code == 0, ended
        for words in (("card", "--check"), ("records", "check")):  # as `faults` asks
            place.smol(*words)
        return cls(place, place.weights(), place.files(), runs)
