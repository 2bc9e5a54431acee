"""What the launcher tells a child process, and where the child leaves things. No torch.

The one protocol between parent and child: the parent writes `job.json` into the run's folder and
starts the child with its path; the child appends to `metrics.jsonl` there, and writes the record
under a number that it has announced there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.config import Frozen
from harness.plan.runs import Run
from harness.records.schema import Code, Launch, Question, Record, Status


class Job(Frozen):
    """One run, with everything that its process needs. Paths are absolute and stay local."""

    run: Run
    question: Question
    code: Code
    """As the launcher found it; the child runs a snapshot of it."""
    arm_values: dict[str, str]
    diff: dict[str, Any]
    command: str
    results: str
    folder: str
    data_folder: str
    parent_folder: str | None
    given: str | None = None
    """The checkpoint, or transformers' folder, that a run starts from where the user gave a
    model."""
    fresh: bool = False
    """Train again what is finished, and not just write its record."""
    attempts: int = 0
    """The number of the run's last attempt when it was found to be left to do. A record that came
    since is another process's, most likely of an orphan of a killed launcher."""
    token: str = ""
    """What marks one start of one process: by it the launcher knows its own child's lines."""
    launcher: int = 0
    """The process whose child works on this job. Where the child's parent is another, it died."""
    concurrent_runs: int
    predicted_seconds: float | None = None
    """How long the whole process would take, as forecast before it started."""
    launch: Launch | None = None
    """Which launch of a campaign this is, where the run is timed: it then runs alone."""
    launched_at: float
    """When the process was started, on the machine's monotonic clock (`time.monotonic`), which all
    its processes share and nobody sets back; from then on a process's start-up counts as set-up."""

    @property
    def files(self) -> RunFiles:
        """The files in the run's folder."""
        return RunFiles(Path(self.folder))


class RunFiles:
    """The names of the files that a run leaves in its folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` need not exist yet."""
        self.folder = folder
        self.job = folder / "job.json"
        self.lock = folder / "lock"
        self.log = folder / "worker.log"
        self.metrics = folder / "metrics.jsonl"
        self.checkpoint = folder / "model.pt"
        self.final = folder / "final_model.pt"
        self.summary = folder / "metrics.json"
        self.plot = folder / "metrics_plot.png"
        self.compile_cache = folder / "compile-cache"
        self.fault = folder / "fault.json"
        """Why one of several processes ended that writes no record itself."""

    def ended_with(self, source_digest: str) -> bool:
        """Whether final weights are there, and the last process here ran that code."""
        try:
            last = Job.model_validate_json(self.job.read_bytes(), strict=False)
        except (FileNotFoundError, ValidationError):
            return False
        return self.final.is_file() and last.code.source_digest == source_digest

    def said_fault(self) -> tuple[Status, str] | None:
        """What another process of the run left as its reason for ending; None where none did."""
        try:
            fault = json.loads(self.fault.read_bytes())
            return fault["status"], fault["error"]
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def branch(self, update: int, source_digest: str) -> Path:
        """The state after `update` updates, from which a decay starts; of one code alone."""
        return self.folder / f"branch-{update}.{source_digest[:8]}.pt"


def run_folder(checkpoints: Path, run: Run | Record) -> Path:
    """`recipe/arm/seed/stage.scale.key`: readable, and never shared by two keys."""
    leaf = f"{run.stage}.{run.scale}.{run.key[:8]}"
    return checkpoints / run.recipe / run.arm / str(run.seed) / leaf


class MetricsLog:
    """The append-only `metrics.jsonl`: one JSON object a line, flushed at once."""

    def __init__(self, path: Path) -> None:
        """Opens for appending; a half-written last line of a killed process is closed off."""
        torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - lives as long as the run
        if torn:
            self._file.write("\n")

    def append(self, event: str, **fields: Any) -> None:
        """One event with its fields."""
        self._file.write(json.dumps({"event": event, **fields}) + "\n")
        self._file.flush()
