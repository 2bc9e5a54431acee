"""What runs now, as plain data: from the logs that runs write, the announcement of their launch and
the records that have come. Reads alone: takes no lock and writes nothing.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from harness.errors import RequestError
from harness.launch.announce import Announced, Due, found
from harness.launch.protocol import RunFiles
from harness.machine import devices, hardware
from harness.machine.prices import price_of
from harness.records import store

POINTS = 160
"""Points of a curve at most."""
SMOOTHED = 20
"""Updates of which the rate is the mean."""
QUIET_SECONDS = 120.0
"""Since a run's last word, after which the page says so."""


@dataclass
class RunLog:
    """A run's `metrics.jsonl`, read as it grows."""

    path: Path
    offset: int = 0
    rest: bytes = b""
    process: int | None = None
    ended: bool = False
    training: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Update -> loss, seconds."""
    validation: dict[int, float] = field(default_factory=dict)

    def read(self) -> None:
        """What was appended since; from the start where the file was replaced."""
        try:
            size = self.path.stat().st_size
            if size < self.offset:
                self.__init__(self.path)  # type: ignore[misc]
            with self.path.open("rb") as file:
                file.seek(self.offset)
                text = self.rest + file.read()
                self.offset = file.tell()
        except OSError:
            return
        *lines, self.rest = text.split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "start":
            self.process, self.ended = int(event["pid"]), False
        elif kind == "end":
            self.ended = True
        elif kind == "resume":  # what came after its checkpoint is made again
            for points in (self.training, self.validation):
                for update in [at for at in points if at > event["update"]]:
                    del points[update]
        elif kind == "update":
            point = float(event["loss"]), float(event["seconds"])
            self.training[int(event["update"])] = point
        elif kind == "validation":
            self.validation[int(event["update"])] = float(event["val_loss"])

    @property
    def losses(self) -> list[tuple[int, float]]:
        """(update, training loss)."""
        return [(update, loss) for update, (loss, _) in self.training.items()]

    @property
    def quiet(self) -> float | None:
        """Seconds since its last line; None where there is none."""
        try:
            return max(0.0, time.time() - self.path.stat().st_mtime)
        except OSError:
            return None


class Watch:
    """One results folder, looked at again and again; many may ask at once."""

    def __init__(self, results: Path, checkpoints: Path) -> None:
        """Raises RequestError for a folder that is none."""
        if results.exists() and not results.is_dir():
            raise RequestError(f"results folder '{results}' is a file")
        self.results, self.checkpoints = results, checkpoints
        self._logs: dict[str, RunLog] = {}
        self._records: dict[tuple[str, float], dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._last: tuple[float, dict[str, Any]] | None = None

    def state(self) -> dict[str, Any]:
        """Everything that a page shows, at most a second old."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] >= 1.0:
                self._last = now, self._look()
            return self._last[1]

    @property
    def version(self) -> str:
        """Changes with the records that are there."""
        try:
            files = [path.stat() for path in store.files_below(self.results / store.FOLDER)]
        except (OSError, RequestError):  # written or removed just now
            return "changing"
        return f"{len(files)}-{max((one.st_mtime_ns for one in files), default=0)}"

    def _look(self) -> dict[str, Any]:
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": self.version,
            "machine": _machine(),
            "launches": [self._launch(one) for one in found(self.checkpoints, self.results)],
        }

    def _launch(self, one: Announced) -> dict[str, Any]:
        runs = [self._run(due, one) for due in one.runs]
        whole = sum(_work(due) for due in one.runs) or 1
        made = sum(run["share"] * _work(due) for run, due in zip(runs, one.runs, strict=True))
        left = _left(one, runs)
        price = _price(one, self.results)
        running = [run for run in runs if run["status"] == "running"]
        stopped = not one.at_work and one.ended != "done"
        return {
            "recipe": one.recipe, "scale": one.scale, "device": one.device_class,
            "command": one.command, "started": one.started, "workers": one.workers,
            "status": "running" if one.at_work else one.ended or "killed",
            "says": _says(one, runs, stopped),
            "done": sum(run["status"] == "ok" for run in runs), "of": len(runs),
            "share": made / whole,
            "seconds_gone": _seconds_since(one.started) if one.at_work else None,
            "seconds_left": left if one.at_work else None,
            "dollars_left": left / 3600 * price if price and left is not None else None,
            "dollars_note": None if price else "no dollars: not a rented device with a known price",
            "running": running,
            "next": [run["name"] for run in runs if run["status"] == "waiting"][:12],
            "ended": [
                {"name": run["name"], "status": run["status"], "error": run["error"]}
                for run in runs if run["status"] not in ("running", "waiting", "ok")
            ],
            "curves": self._curves(one),
        }  # fmt: skip

    def _run(self, due: Due, one: Announced) -> dict[str, Any]:
        log = self._log(due)
        record = self._record(due, one)
        last = max(log.training, default=None)
        updates = max(1, due.last_update - due.first_update)
        share = 0.0 if last is None else (last - due.first_update) / updates
        alive = one.at_work and not log.ended and log.process is not None
        memory = _memory(log.process) if alive and record is None else None
        if record is not None:
            status = str(record["status"])
        elif memory is not None or (alive and (log.quiet or 0.0) < QUIET_SECONDS):
            status = "running"
        else:
            status = "waiting" if one.at_work else "stopped" if log.training else "not begun"
        seconds = [log.training[at][1] for at in sorted(log.training)[-SMOOTHED:]]
        return {
            "name": due.name, "arm": due.arm, "seed": due.seed, "stage": due.stage,
            "status": status, "error": (record or {}).get("error"),
            "share": 1.0 if status == "ok" else min(1.0, max(0.0, share)),
            "update": last, "of": due.last_update,
            "loss": log.training[last][0] if last is not None else None,
            "val_loss": log.validation[max(log.validation)] if log.validation else None,
            "tokens_per_second": due.tokens_per_update / statistics.fmean(seconds)
            if seconds and sum(seconds) > 0 else None,
            "memory": memory,
            "quiet": log.quiet if status == "running" else None,
            "spark": [loss for _, loss in _thinned(log.losses, 32)],
        }  # fmt: skip

    def _log(self, due: Due) -> RunLog:
        log = self._logs.setdefault(due.folder, RunLog(RunFiles(Path(due.folder)).metrics))
        log.read()
        return log

    def _record(self, due: Due, one: Announced) -> dict[str, Any] | None:
        """The newest record of a run, of this launch or one that ended well."""
        folder = (self.results / store.relative_path(one.recipe, due.arm, due.key, 1)).parent
        newest = None
        for path in sorted(folder.glob(f"{due.key}.*.json")):
            try:
                place = str(path), path.stat().st_mtime
                if place not in self._records:
                    content = json.loads(path.read_bytes())
                    kept = ("status", "error", "created", "attempt")
                    self._records[place] = {name: content[name] for name in kept}
            except (OSError, ValueError, KeyError, TypeError):  # being written, or no record
                continue
            found_here = self._records[place]
            if newest is None or found_here["attempt"] > newest["attempt"]:
                newest = found_here
        if newest is None or (newest["status"] != "ok" and newest["created"] < one.started):
            return None
        return newest

    def _curves(self, one: Announced) -> list[dict[str, Any]]:
        """The losses of every run so far, by arm."""
        arms = list(dict.fromkeys(due.arm for due in one.runs))
        lines = []
        for due in one.runs:
            log = self._logs[due.folder]
            if not log.training:
                continue
            training = _thinned(log.losses, POINTS)
            scale = due.tokens_per_update
            lines.append(
                {
                    "arm": due.arm, "place": arms.index(due.arm), "seed": due.seed,
                    "stage": due.stage, "tokens": [u * scale for u, _ in training],
                    "loss": [round(loss, 4) for _, loss in training],
                    "val_tokens": [u * scale for u in sorted(log.validation)],
                    "val_loss": [round(log.validation[u], 4) for u in sorted(log.validation)],
                }
            )  # fmt: skip
        return lines


def _says(one: Announced, runs: list[dict[str, Any]], stopped: bool) -> str:
    """What became of a launch, as a sentence."""
    left = sum(run["status"] != "ok" for run in runs)
    what = f"{one.recipe} at {one.scale}"
    if one.at_work:
        return f"{what} is running"
    if not stopped:
        return f"{what} is done" + (f"; {left} runs did not end well" if left else "")
    how = {"interrupted": "was interrupted", "failed": "ended with an error"}.get(
        str(one.ended), "was killed: its process is gone"
    )
    return f"{what} {how}, {left} of {len(runs)} runs to do; the same command goes on"


def _left(one: Announced, runs: list[dict[str, Any]]) -> float | None:
    """Seconds until all is done: a run's own pace, else its forecast, else the pace of the others,
    starts left out. None without any."""
    total = 0.0
    rates = [run["tokens_per_second"] for run in runs if run["tokens_per_second"]]
    for due, run in zip(one.runs, runs, strict=True):
        if run["status"] not in ("running", "waiting"):
            continue
        rate = run["tokens_per_second"]
        if run["status"] == "running" and rate and run["update"] is not None:
            total += (due.last_update - run["update"]) * due.tokens_per_update / rate
            continue
        pace = _work(due) / statistics.fmean(rates) if rates else None
        seconds = due.predicted_seconds or pace
        if seconds is None:
            return None
        total += seconds
    return total / max(1, one.workers)


def _work(due: Due) -> int:
    return (due.last_update - due.first_update) * due.tokens_per_update


def _seconds_since(started: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds()


def _price(one: Announced, results: Path) -> float | None:
    """Dollars an hour of a rented device; None for any other."""
    if not devices.of(one.device).rented:
        return None
    peak = hardware.peak_of(one.device_class)
    price = price_of(peak.name, results=results) if peak else None
    return price.value if price else None


def _memory(process: int | None) -> int | None:
    """Resident bytes of a process; None where it is gone."""
    try:
        found_here = psutil.Process(process)
        if found_here.status() == psutil.STATUS_ZOMBIE:
            return None
        return int(found_here.memory_info().rss)
    except psutil.Error:
        return None


def _machine() -> dict[str, Any]:
    """Memory, load and clocks now; of a GPU where there is one."""
    memory, clock = psutil.virtual_memory(), None
    with contextlib.suppress(Exception):  # many machines do not say
        clock = psutil.cpu_freq().current
    gpu = devices.of("cuda").condition()
    return {
        "memory_used": memory.total - memory.available, "memory": memory.total,
        "load": hardware.load_average(), "cpu_mhz": clock,
        "gpu": None if gpu is None or isinstance(gpu, str) else gpu.model_dump(),
    }  # fmt: skip


def _thinned(points: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """At most so many points, each the mean of its neighbours, in order."""
    points = sorted(points)
    step = -(-len(points) // most) or 1
    parts = [points[at : at + step] for at in range(0, len(points), step)]
    return [(part[-1][0], statistics.fmean(loss for _, loss in part)) for part in parts]
