"""One run over several processes, through the real door: same data, same losses, one record."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from harness.records.schema import Record
from tests.e2e.conftest import Workspace, make

RUN = (
    "run", "tiny_rates", "--seeds", "1", "--set", "train.tokens=2560",
    "--set", "train.dtype=fp32",
    "--set", "optim.muon_ns_dtype=fp32",  # in bf16 a rounding of the gradient would grow
)  # fmt: skip
SHARED = (*RUN, "--launcher", "torchrun", "--processes", "2")
STEM = "checkpoints/tiny_rates/low/0/stem.*/metrics.jsonl"


def ended(workspace: Workspace, processes: int) -> dict[str, Record]:
    """The `ok` records of a number of processes, by arm and stage."""
    found = [r for r in workspace.records() if (r.status, r.world_size) == ("ok", processes)]
    return {f"{r.arm}/{r.stage}": r for r in found}


def losses(record: Record) -> list[float]:
    return [p.loss for p in record.training] + [p.val_loss for p in record.validation]


def events(workspace: Workspace) -> list[dict[str, object]]:
    lines = [line for file in workspace.folder.glob(STEM) for line in file.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def interrupt(workspace: Workspace, asked: tuple[str, ...], number: int) -> None:
    """Start, wait for the next updates of the first stem, and end the launcher with a signal."""
    before = sum(event["event"] == "update" for event in events(workspace))
    process = workspace.start(*asked)
    deadline = time.monotonic() + 200
    while sum(event["event"] == "update" for event in events(workspace)) < before + 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=100)
    assert process.returncode == (130 if number == signal.SIGINT else -number)


def alive(folder: Path) -> list[str]:
    """Commands of processes that work on a job in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode().split("\0")
        except OSError:
            continue
        if any(word.startswith(str(folder)) for word in words):
            found.append(" ".join(words))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_train_what_one_trains_and_either_goes_on_from_the_other(tmp_path):
    one, two, both = (make(tmp_path / name) for name in ("one", "two", "both"))
    one.smol(*RUN)
    two.smol(*SHARED)
    alone, shared = ended(one, 1), ended(two, 2)
    assert shared.keys() == alone.keys()
    for name, record in alone.items():
        other = shared[name]
        assert losses(other) == pytest.approx(losses(record), abs=1e-5)
        assert other.tokens_per_update == record.tokens_per_update
        assert (other.key != record.key, other.config) == (True, record.config)
        assert other.command.endswith("--launcher torchrun --processes 2")
    page = (two.results / "cards" / "tiny_rates.md").read_text()
    assert "each update shared by 2 processes" in page
    assert "nothing to do" in two.smol(*SHARED)

    interrupt(both, SHARED, signal.SIGINT)
    interrupt(both, RUN, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while alive(both.folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(both.folder) == []
    both.smol(*SHARED)
    again = ended(both, 2)
    assert again.keys() == shared.keys()
    for name, record in shared.items():
        assert losses(again[name]) == pytest.approx(losses(record), abs=1e-5)
    assert again["low/stem"].timing.resumed >= 2
    # One went on from two, then two from one, later: each number of processes has its own folder.
    went_on = [event["update"] for event in events(both) if event["event"] == "resume"]
    assert len({0, *went_on}) >= 3
