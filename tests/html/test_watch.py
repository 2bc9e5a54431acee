"""What `smol watch` says of a launch, from logs and records that are made here; and its server."""

from __future__ import annotations

import http.client
import json
import os
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.errors import RequestError
from harness.html.server import HERE, Server
from harness.html.terminal import sparkline
from harness.html.watch import RunLog, Watch
from harness.launch.announce import FILE, Announced, Due

NOBODY = 2**22 + 1
"""Above the highest number that Linux gives to a process."""


def line(event: str, **fields: Any) -> str:
    return json.dumps({"event": event, **fields}) + "\n"


def launch(place: Path, **changes: Any) -> Path:
    """Two runs: one at work by this very process, one that waits. Returns the first's folder."""
    me = psutil.Process()
    due = [
        Due(
            key=f"k{seed}", name=f"mine/a/{seed}/stem", arm="a", seed=seed, stage="stem",
            first_update=0, last_update=10, tokens_per_update=100,
            folder=str(place / "checkpoints" / f"run{seed}"), predicted_seconds=20.0,
        )
        for seed in (0, 1)
    ]  # fmt: skip
    said = Announced(
        recipe="mine", scale="smoke", device="cpu", device_class="Some CPU",
        results=str((place / "results").resolve()), command="smol run mine", workers=1,
        started="2026-11-28T00:00:00+00:00", process=os.getpid(),
        process_started=me.create_time(), runs=tuple(due),
    ).model_copy(update=changes)  # fmt: skip
    folder = place / "checkpoints" / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(said.model_dump_json())
    first = Path(due[0].folder)
    first.mkdir(exist_ok=True)
    updates = [line("update", update=u, loss=9.0 - u, seconds=2.0) for u in range(1, 6)]
    (first / "metrics.jsonl").write_text(
        line("start", pid=os.getpid(), token="t") + "".join(updates)
        + line("validation", update=5, val_loss=4.5) + '{"event": "update", "upd'
    )  # fmt: skip
    return first


def one(place: Path) -> dict[str, Any]:
    (found,) = Watch(place / "results", place / "checkpoints").state()["launches"]
    return dict(found)


def test_a_launch_at_work(tmp_path: Path) -> None:
    launch(tmp_path)
    seen = one(tmp_path)
    assert (seen["status"], seen["done"], seen["of"]) == ("running", 0, 2)
    assert seen["share"] == pytest.approx(0.25)
    (run,) = seen["running"]
    assert (run["update"], run["loss"], run["val_loss"]) == (5, 4.0, 4.5)
    assert run["tokens_per_second"] == pytest.approx(50.0)
    assert run["memory"] > 0
    assert seen["next"] == ["mine/a/1/stem"]
    assert seen["seconds_left"] == pytest.approx(5 * 2.0 + 20.0)
    assert seen["dollars_left"] is None  # a CPU
    (curve,) = seen["curves"]
    assert curve["tokens"] == [100, 200, 300, 400, 500]
    assert (curve["val_tokens"], curve["val_loss"]) == ([500], [4.5])


def test_a_killed_launch_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    launch(tmp_path, process=NOBODY)
    seen = one(tmp_path)
    assert seen["status"] == "killed"
    assert "was killed: its process is gone, 2 of 2 runs to do" in seen["says"]
    assert seen["running"] == []
    assert seen["command"] == "smol run mine"
    launch(tmp_path, ended="interrupted")
    assert "was interrupted" in one(tmp_path)["says"]


def test_another_folders_launch_is_not_shown(tmp_path: Path) -> None:
    launch(tmp_path)
    assert Watch(tmp_path / "other", tmp_path / "checkpoints").state()["launches"] == []


def test_a_log_follows_a_resumed_run_back_to_its_checkpoint(tmp_path: Path) -> None:
    path = launch(tmp_path) / "metrics.jsonl"
    log = RunLog(path)
    log.read()
    with path.open("a") as file:  # the torn line is closed off, as the next process does
        file.write("\n" + line("resume", update=3) + line("update", update=4, loss=1.0, seconds=1))
    log.read()
    assert log.losses == [(1, 8.0), (2, 7.0), (3, 6.0), (4, 1.0)]
    assert log.validation == {}


def test_watching_writes_nothing(tmp_path: Path) -> None:
    launch(tmp_path)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    one(tmp_path)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_the_server_answers_this_machine_alone_and_shows_nothing_else(tmp_path: Path) -> None:
    launch(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "secret.json").write_text("{}")
    with Server(Watch(tmp_path / "results", tmp_path / "checkpoints"), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]

        def ask(path: str, host: str, method: str = "GET") -> http.client.HTTPResponse:
            there = http.client.HTTPConnection(HERE, port, timeout=60)
            there.request(method, path, headers={"Host": host})
            return there.getresponse()

        state = ask("/state.json", f"localhost:{port}")
        assert state.status == 200
        assert json.loads(state.read())["launches"][0]["status"] == "running"
        assert ask("/state.json", f"rebound.example:{port}").status == 403
        assert ask("/state.json", "rebound.example").status == 403
        for path in ("/../secret.json", "/records/../../secret.json", "/%2e%2e/secret.json"):
            assert ask(path, f"{HERE}:{port}").status == 404
        assert ask("/state.json", f"{HERE}:{port}", "POST").status == 501
        with pytest.raises(RequestError, match=f"port {port} cannot be listened on"):
            Server(server.watch, port)
        server.shutdown()


def test_a_sparkline_falls_with_the_loss() -> None:
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == "▁▁"
