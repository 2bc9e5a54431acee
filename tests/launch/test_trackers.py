"""What a run says goes to trackers as it is, and nothing of a tracker comes back to the run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.errors import RequestError
from harness.launch import sinks
from harness.launch.trackers import named, trackers
from harness.launch.tracking import Log, Tracked, TrackedPoint, of_record
from tests.report.factory import campaign

RUN = Tracked("rates", "low", 3, "stem", "smoke", "0123456789abcdef", {"arm": "low", "seed": 3})


def line(update: int, **more: Any) -> str:
    fields = {"event": "update", "update": update, "tokens": update * 128, "loss": 9 / update}
    return json.dumps({**fields, "seconds": 0.5, **more}) + "\n"


def start(token: str) -> str:
    return json.dumps({"event": "start", "token": token}) + "\n"


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> update -> value, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return {
        tag: {one.step: one.value for one in reader.Scalars(tag)}
        for tag in reader.Tags()["scalars"]
    }


def test_a_log_is_read_from_its_process_on_whole_lines_only(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = Log(path, "mine")
    assert log.read(128) == []
    path.write_text(
        start("other") + line(1) + '{"torn": \n' + start("mine") + line(5) + line(6)[:9]
    )
    (point,) = log.read(128)
    assert (point.update, log.first) == (5, 4)
    assert point.values == {"train/loss": 9 / 5, "tokens": 640.0, "train/tokens_per_second": 256.0}
    with path.open("a") as file:
        file.write(line(6)[9:] + '{"event": "validation", "update": 6, "val_loss": 2.5}\n')
    assert [sorted(point.values)[-1] for point in log.read(128)] == [
        "train/tokens_per_second",
        "val/loss",
    ]
    path.write_text(path.read_text() + start("later") + line(7))
    assert log.read(128) == []  # another process's


def test_tensorboard_reads_back_what_was_logged(tmp_path):
    tracker = trackers()["tensorboard"](tmp_path)
    losses = {update: 7.0 / update for update in range(1, 30)}
    tracker.open(RUN, 0)
    tracker.log(RUN, [TrackedPoint(u, {"train/loss": loss}) for u, loss in losses.items()])
    tracker.close(RUN, "killed")
    tracker.open(RUN, 20)  # goes on from its checkpoint; 21 to 29 are trained again
    again = {update: 8.0 / update for update in range(21, 40)}
    tracker.log(RUN, [TrackedPoint(u, {"train/loss": loss}) for u, loss in again.items()])
    tracker.finish()
    (folder,) = (tmp_path / "rates" / "low" / "seed-3").iterdir()
    expected = {u: np.float32(x) for u, x in (losses | again).items()}
    assert scalars(folder)["train/loss"] == expected


def test_a_records_curve_is_as_long_as_what_it_holds():
    record = campaign()[0]
    points = of_record(record)
    assert len(points) == len(record.training) + len(record.validation)
    assert [p.update for p in points] == sorted(p.update for p in points)
    assert {p.values["val/loss"] for p in points if "val/loss" in p.values} == {
        point.val_loss for point in record.validation
    }


def test_an_unknown_tracker_gets_the_nearest():
    with pytest.raises(RequestError, match="no tracker 'tensorbord'; did you mean 'tensorboard'"):
        named("tensorbord,wandb")
    assert [one.name for one in named("wandb, tensorboard,wandb")] == ["wandb", "tensorboard"]


class Quiet:
    """A display that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def show(self, *_: object) -> None: ...

    def finished(self, record: object) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Sinks whose trackers' processes run a program instead."""

    def made(program: str) -> tuple[sinks.Sinks, Quiet]:
        real = sinks.subprocess.Popen
        monkeypatch.setattr(
            sinks.subprocess, "Popen",
            lambda words, **more: real([words[0], "-c", program], **more),
        )  # fmt: skip
        quiet = Quiet()
        return sinks.Sinks(quiet, named("tensorboard"), tmp_path), quiet

    return made


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise OSError('the service is down')", "(OSError: the service is down)"),
        ("import signal, time; signal.signal(15, lambda *_: 0); time.sleep(600)", ""),
    ],
    ids=["ends", "hangs"],
)
def test_a_tracker_that_is_down_never_stops_or_slows_the_runs(beside, monkeypatch, program, said):
    monkeypatch.setattr(sinks, "PATIENCE_SECONDS", 0.5)
    made, quiet = beside(program)
    slowest = 0.0
    with made:
        if said:
            made._processes[0].process.wait()
        for number in range(3000):  # more than a pipe holds
            token = f"{number:032x}"
            job = SimpleNamespace(token=token, files=SimpleNamespace(job=Path(f"/{'x' * 100}")))
            before = time.perf_counter()
            made.show([SimpleNamespace(job=job)], 0, [])
            made.finished(SimpleNamespace(key=token, status="ok"))
            slowest = max(slowest, time.perf_counter() - before)
    assert slowest < 0.5
    (note,) = quiet.notes
    assert note.startswith(f"the tracker tensorboard was lost{' ' + said if said else ';'}")
    assert "`smol records push --to tensorboard` sends them afterwards" in note


def test_a_tracker_that_is_not_installed_is_named_and_left_out(tmp_path, monkeypatch):
    (tracker,) = named("wandb")
    monkeypatch.setattr(tracker, "package", "nothing_of_that_name")
    quiet = Quiet()
    with sinks.Sinks(quiet, [tracker], tmp_path):
        pass
    assert quiet.notes == [
        "wandb is not installed: `pip install 'smol-harness[wandb]'`; the runs go on without"
    ]
