"""The tracker `tensorboard`: event files, a folder a run, as `recipe/arm/seed-N/stage.scale.key`.

What an arm is stands in the tab of hyperparameters. Values are kept in single precision, as
TensorBoard's scalars are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.launch.tracking import Tracked, TrackedPoint, Tracker


class TensorBoard(Tracker):
    """Writes event files with TensorBoard's own writer, without torch."""

    name = "tensorboard"
    package = "tensorboard"
    look = "tensorboard --logdir {folder}"

    def __init__(self, folder: Path) -> None:
        """`folder` is the log directory."""
        super().__init__(folder)
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._make = EventFileWriter
        self._writers: dict[str, Any] = {}

    def open(self, run: Tracked, first: int) -> None:
        """A new event file; what older ones hold from there on is purged as they are read."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.plugins.hparams import summary_v2

        place = self.folder / run.recipe / run.arm / f"seed-{run.seed}"
        writer = self._make(str(place / f"{run.stage}.{run.scale}.{run.key[:8]}"))
        self._writers[run.key] = writer
        start = SessionLog(status=SessionLog.START)
        writer.add_event(Event(wall_time=time.time(), step=first + 1, session_log=start))
        plain = {
            name: value if isinstance(value, (bool, int, float)) else str(value)
            for name, value in run.config.items()
            if "." not in name or name.startswith(("axis.", "optim."))
        }
        summary = summary_v2.hparams_pb(plain, trial_id=run.key)
        writer.add_event(Event(wall_time=time.time(), summary=summary))

    def log(self, run: Tracked, points: Sequence[TrackedPoint]) -> None:
        """An event a point."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        for point in points:
            values = [
                Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()
            ]
            event = Event(wall_time=time.time(), step=point.update, summary=Summary(value=values))
            self._writers[run.key].add_event(event)
        self._writers[run.key].flush()

    def close(self, run: Tracked, status: str) -> None:
        """The file is whole."""
        self._writers.pop(run.key).close()

    def finish(self) -> None:
        """As after `close` of each."""
        for writer in self._writers.values():
            writer.close()


TRACKER = TensorBoard
