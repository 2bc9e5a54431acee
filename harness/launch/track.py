"""A tracker's process: `python -P -m harness.launch.track NAME FOLDER`.

It is told on stdin what to follow: a line `{"open": job.json, "token": ...}` names a run that has
started, `{"close": key, "status": ...}` one that has ended. The rest it reads from the runs' own
logs, at its own pace, so that nobody waits for it. It ends when its input does, after it has read
the logs to their ends.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.launch.protocol import Job
from harness.launch.trackers import trackers
from harness.launch.tracking import Log, Tracked, Tracker

PAUSE_SECONDS = 0.5
AFTERWARDS_SECONDS = 120.0
"""How long it may go on after its launcher has gone."""


@dataclass
class _Followed:
    """A run that was opened: its log, and how it ended."""

    run: Tracked
    log: Log
    tokens_per_update: int
    status: str | None = None
    opened: bool = False

    def pass_on(self, tracker: Tracker) -> bool:
        """Give the tracker what is new; whether there was something."""
        points = self.log.read(self.tokens_per_update)
        if points:
            if not self.opened:
                tracker.open(self.run, self.log.first or 0)
                self.opened = True
            tracker.log(self.run, points)
        return bool(points)


def follow(tracker: Tracker, messages: queue.Queue[dict[str, Any] | None]) -> None:
    """Serve until `None` comes, and the logs have been read to their ends."""
    runs: dict[str, _Followed] = {}
    listening = True
    while listening or runs:
        while True:
            try:
                message = messages.get_nowait()
            except queue.Empty:
                break
            if message is None:
                listening = False
            elif "open" in message:
                one = _opened(message)
                runs[one.run.key] = one
            elif message.get("close") in runs:
                runs[message["close"]].status = message["status"]
        for key, one in list(runs.items()):
            ended = one.status is not None or not listening
            more = one.pass_on(tracker)
            if ended and not more:
                if one.opened:
                    tracker.close(one.run, one.status or "unknown")
                del runs[key]
        if listening:
            time.sleep(PAUSE_SECONDS)
    tracker.finish()


def _opened(message: dict[str, Any]) -> _Followed:
    job = Job.model_validate_json(Path(message["open"]).read_bytes(), strict=False)
    log = Log(job.files.metrics, message["token"])
    return _Followed(Tracked.of(job), log, job.run.config.tokens_per_update)


def _listen(messages: queue.Queue[dict[str, Any] | None]) -> None:
    for line in sys.stdin:
        messages.put(json.loads(line))
    messages.put(None)
    time.sleep(AFTERWARDS_SECONDS)  # a service that does not answer must not keep us for ever
    os._exit(1)


def main(name: str, folder: str) -> None:
    """Follow what stdin says with the tracker of that name."""
    if hasattr(os, "nice"):
        os.nice(10)  # runs come first
    messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_listen, args=(messages,), daemon=True).start()
    follow(trackers()[name](Path(folder)), messages)


if __name__ == "__main__":
    main(*sys.argv[1:])
