"""The disk while runs go on: room for the next one, and states that nothing needs any more.

A run's rolling state serves to go on from where it was stopped; a branch serves the stages that
start from it. Of a model of SmolLM2-135M's size either is 1.6 GB, and a sweep makes dozens. So what
is large goes as soon as it has served: a rolling state once its run has ended well, branches once
all that start from them have. Final weights stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from harness.errors import RequestError
from harness.launch.protocol import Job, RunFiles, run_folder
from harness.plan import needs
from harness.plan.runs import Run
from harness.records.schema import Record

SMALL_BYTES = 250 * 10**6
"""States up to this size stay, so that a stage that is added later has its parent's branch."""
SPARE_BYTES = 2**28
"""Left free beside a run's own states, for logs, records and compiled code."""


class Disk:
    """What one command's runs leave on it."""

    def __init__(
        self,
        runs: Sequence[Run],
        ended: Collection[str],
        checkpoints: Path,
        say: Callable[[str], None],
    ) -> None:
        """`runs` are all of the plan, `ended` the keys of those that had ended well before."""
        self.runs = {run.key: run for run in runs}
        self._ended, self._folder, self._say = set(ended), checkpoints, say

    def check_all(self, todo: Sequence[Run]) -> None:
        """Before anything starts: say where the disk may not do. Raises RequestError where not even
        one run finds room."""
        for run in todo:
            self._check(run)
        needed, free = needs.disk_bytes(todo, keeps=SMALL_BYTES), self._free()
        if free < needed:
            self._say(
                f"disk: these runs take up to {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
                "free: they stop where there is no more room, and the same command goes on"
            )

    def check(self, job: Job) -> None:
        """Before a run starts. Raises RequestError where it finds no room."""
        self._check(job.run)

    def _check(self, run: Run) -> None:
        if needs.state_bytes(run.config) <= SMALL_BYTES:
            return  # that there is room for each file is asked when it is written
        needed, free = needs.running_bytes(run) + SPARE_BYTES, self._free()
        there = RunFiles(run_folder(self._folder, run)).checkpoint
        if there.is_file():  # it is there already, and counted as used
            needed -= there.stat().st_size
        if free < needed:
            raise RequestError(
                f"{run.name} needs {needed / 1e9:.1f} GB of disk for its states, and "
                f"{free / 1e9:.1f} GB are free: free some (`smol records clean` deletes the "
                "checkpoints of finished runs), and give the same command again"
            )

    def _free(self) -> int:
        place = self._folder
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def ended(self, job: Job, record: Record) -> None:
        """Delete what has served: of a run that has ended well, and of the one it started from."""
        if record.status != "ok" or job.run.key not in self.runs:
            return
        self._ended.add(job.run.key)
        run = self.runs[job.run.key]
        if needs.state_bytes(run.config) <= SMALL_BYTES:
            return
        files = RunFiles(run_folder(self._folder, run))
        files.checkpoint.unlink(missing_ok=True)
        self._tidy(run)
        if run.parent in self.runs:
            self._tidy(self.runs[run.parent])

    def _tidy(self, run: Run) -> None:
        """The branches of a run that has ended well, once all that starts from it has."""
        after = {key for key, other in self.runs.items() if other.parent == run.key}
        if run.key in self._ended and after <= self._ended:
            for branch in run_folder(self._folder, run).glob("branch-*.pt"):
                branch.unlink(missing_ok=True)
