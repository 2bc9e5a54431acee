"""The tracker `wandb`: Weights & Biases, a project a recipe, a group an arm.

Without WANDB_MODE it works offline: nothing leaves the machine until `wandb sync`. With
WANDB_MODE=online it does as the library's own login and settings say.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.launch.tracking import Tracked, TrackedPoint, Tracker


class Wandb(Tracker):
    """Logs through the library, several runs at once."""

    name = "wandb"
    package = "wandb"
    look = "wandb sync {folder}/wandb/offline-run-*"

    def __init__(self, folder: Path) -> None:
        """`folder` counts where the environment names no other."""
        super().__init__(folder)
        os.environ.setdefault("WANDB_DIR", str(folder))
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_SILENT", "true")
        Path(os.environ["WANDB_DIR"]).mkdir(parents=True, exist_ok=True)
        import wandb

        self._wandb = wandb
        self._runs: dict[str, Any] = {}

    def open(self, run: Tracked, first: int) -> None:
        """The run's key is its id, so that a run that goes on is one run; the service keeps the
        points that it has and takes those that are new."""
        wandb = self._wandb
        self._runs[run.key] = wandb.init(
            project=run.recipe, group=run.arm, job_type=run.stage, name=run.name, id=run.key,
            tags=[run.scale, f"seed-{run.seed}"], config=dict(run.config), resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                console="off", disable_git=True, disable_code=True, x_disable_stats=True,
                x_disable_machine_info=True,
            ),
        )  # fmt: skip

    def log(self, run: Tracked, points: Sequence[TrackedPoint]) -> None:
        """A row an update; what a validation adds joins it."""
        for point in points:
            self._runs[run.key].log(dict(point.values), step=point.update)

    def close(self, run: Tracked, status: str) -> None:
        """Written to its end, with how it ended."""
        one = self._runs.pop(run.key)
        one.summary["status"] = status
        one.finish(exit_code=0 if status == "ok" else 1)

    def finish(self) -> None:
        """As after `close` of each."""
        for one in self._runs.values():
            one.finish(exit_code=1)


TRACKER = Wandb
