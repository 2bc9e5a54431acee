"""The tracker `trackio`: its local database, a project a recipe, a group an arm.

Rows are written to the database itself, which starts no server; `trackio show` and `trackio sync`
read it. TRACKIO_DIR moves it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.launch.tracking import Tracked, TrackedPoint, Tracker


class Trackio(Tracker):
    """Writes rows of Trackio's database."""

    name = "trackio"
    package = "trackio"
    look = "TRACKIO_DIR={folder} trackio show"

    def __init__(self, folder: Path) -> None:
        """`folder` counts where the environment names no other."""
        super().__init__(folder)
        os.environ.setdefault("TRACKIO_DIR", str(folder))  # it is read as the library is imported
        from trackio.sqlite_storage import SQLiteStorage

        self._store = SQLiteStorage
        self._last: dict[str, int] = {}

    def open(self, run: Tracked, first: int) -> None:
        """Rows that an interrupted process has written stay: those that come again are equal. One
        that starts at the beginning takes the place of what was there."""
        last = self._store.get_max_step_for_run(run.recipe, run.name, run.key)
        if last is not None and first == 0:
            self._store.delete_run(run.recipe, run.name, run.key)
            last = None
        self._last[run.key] = -1 if last is None else last

    def log(self, run: Tracked, points: Sequence[TrackedPoint]) -> None:
        """A row a point."""
        new = [point for point in points if point.update > self._last[run.key]]
        self._store.bulk_log(
            run.recipe, run.name, [dict(point.values) for point in new],
            steps=[point.update for point in new],
            config={**run.config, "_Group": run.arm}, run_id=run.key,
        )  # fmt: skip

    def close(self, run: Tracked, status: str) -> None:
        """Nothing is open."""

    def finish(self) -> None:
        """Nothing is open."""


TRACKER = Trackio
