"""Real runs, tracked while they go on and sent afterwards, read back by each tracker's library."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import Workspace
from tests.launch.test_trackers import scalars

pytestmark = pytest.mark.trackers
Losses = dict[str, dict[str, dict[int, float]]]
"""Key -> name of the value -> update -> value."""
WANTED = {"loss": "train/loss", "val_loss": "val/loss"}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    from tests.e2e import conftest

    workspace = conftest.make(tmp_path_factory.mktemp("tracked"))
    workspace.smol("run", "tiny_rates", "--track", "tensorboard,trackio,wandb")
    return workspace


def logged(workspace: Workspace) -> Losses:
    found: Losses = {}
    for path in workspace.folder.glob("checkpoints/tiny_rates/*/*/*/metrics.jsonl"):
        values: dict[str, dict[int, float]] = defaultdict(dict)
        for text in path.read_text().splitlines():
            event = json.loads(text)
            for field, name in WANTED.items():
                if field in event:
                    values[name][event["update"]] = event[field]
        found[path.parent.name.split(".")[-1]] = dict(values)
    return found


def from_tensorboard(folder: Path) -> Losses:
    places = {path.parent for path in folder.rglob("events.out.tfevents.*")}
    return {
        place.name.split(".")[-1]: {n: v for n, v in scalars(place).items() if n in WANTED.values()}
        for place in places
    }


def from_trackio(folder: Path) -> Losses:
    program = (
        "import json, sys\nfrom trackio.sqlite_storage import SQLiteStorage as S\n"
        "print(json.dumps({r['id']: S.get_logs('tiny_rates', r['name'], run_id=r['id'])"
        " for r in S.get_run_records('tiny_rates')}, default=str))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "TRACKIO_DIR": str(folder)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: Losses = {}
    for key, rows in json.loads(done.stdout.splitlines()[-1]).items():
        values: dict[str, dict[int, float]] = defaultdict(dict)
        for row in rows:
            for name in WANTED.values():
                if name in row:
                    assert row["step"] not in values[name]  # never doubled
                    values[name][row["step"]] = row[name]
        found[key[:8]] = dict(values)
    return found


def framed(data: bytes) -> Iterator[bytes]:
    """The messages of a .wandb file: LevelDB's log, in blocks of 32 KB after seven bytes."""
    assert data[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last piece
            yield whole
            whole = b""


def from_wandb(folder: Path) -> Losses:
    from wandb.proto import wandb_internal_pb2

    found: Losses = {}
    for path in folder.glob("wandb/offline-run-*/*.wandb"):
        values: dict[str, dict[int, float]] = defaultdict(dict)
        key = ""
        for data in framed(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.WhichOneof("record_type") == "run":
                key = record.run.run_id
                assert record.run.run_group in ("low", "high")
                assert record.run.project == "tiny_rates"
            if record.WhichOneof("record_type") == "history":
                row = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                for name in WANTED.values():
                    if name in row:
                        values[name][row["_step"]] = row[name]
        found[key[:8]] = dict(values)
    return found


READ = {"tensorboard": from_tensorboard, "trackio": from_trackio, "wandb": from_wandb}


def single(losses: Losses) -> Losses:
    """As TensorBoard keeps scalars."""
    return {
        key: {n: {u: float(np.float32(x)) for u, x in v.items()} for n, v in values.items()}
        for key, values in losses.items()
    }


@pytest.mark.parametrize("name", READ)
def test_what_was_sent_live_is_the_log(tracked, name):
    wanted = logged(tracked)
    assert len(wanted) >= 4
    assert sum(len(values["train/loss"]) for values in wanted.values()) > 100
    read = READ[name](tracked.folder / "checkpoints" / ".trackers" / name)
    assert read == (single(wanted) if name == "tensorboard" else wanted)


@pytest.mark.parametrize("name", READ)
def test_what_is_sent_afterwards_is_the_records(tracked, name, tmp_path, monkeypatch):
    for variable in ("TRACKIO_DIR", "WANDB_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    place = tmp_path
    if name == "tensorboard":
        place = tracked.folder / "checkpoints" / ".trackers" / name
    tracked.smol("records", "push", "tiny_rates", "--to", name)
    if name == "trackio":
        tracked.smol("records", "push", "tiny_rates", "--to", name)  # again: nothing is doubled
    wanted = {
        record.key[:8]: {
            "train/loss": {point.update: point.loss for point in record.training},
            "val/loss": {point.update: point.val_loss for point in record.validation},
        }
        for record in tracked.records()
    }
    assert READ[name](place) == (single(wanted) if name == "tensorboard" else wanted)


def test_trackio_groups_by_arm(tracked):
    (database,) = (tracked.folder / "checkpoints/.trackers/trackio").glob("*.db")
    with sqlite3.connect(database) as connection:
        configs = [json.loads(row[0]) for row in connection.execute("SELECT config FROM configs")]
    assert {config["_Group"] for config in configs} == {"low", "high"}
