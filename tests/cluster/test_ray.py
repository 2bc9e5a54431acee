"""Runs over two nodes, of which one dies, or the launcher, or both: the same records, once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.code import snapshot
from harness.config import replace
from harness.launch.execute import execute
from harness.launch.launchers.local import Local
from harness.records import store
from tests.cluster.nodes import two_nodes
from tests.e2e.conftest import Workspace
from tests.launch.test_local import Quiet
from tests.launch.test_timed import job

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3000)]
WORDS = os.environ.get("SMOL_CLUSTER_RUN", "--seeds 1 --set train.tokens=20480").split()
"""As much of the recipe as two busy cores do in minutes; the whole of it where this is empty."""
RUN = ("run", "dense_vs_moe", "--scale", "smoke", *WORDS)


def ended(workspace: Workspace) -> dict[str, list[float]]:
    """The losses of every finished run; each run has finished once."""
    found = [record for record in workspace.records() if record.status == "ok"]
    losses = {
        record.key: [p.loss for p in record.training] + [p.val_loss for p in record.validation]
        for record in found
    }
    assert len(losses) == len(found)
    return losses


def wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    while not until():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def updates(workspace: Workspace) -> int:
    """How many updates of all runs have been heard of."""
    logs = workspace.folder.glob("checkpoints/dense_vs_moe/*/*/*/metrics.jsonl")
    return sum(log.read_text().count('"event": "update"') for log in logs)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """What this machine's own processes make of it."""
    workspace = Workspace(tmp_path_factory.mktemp("local"))
    finish(workspace.start(*RUN, "--jobs", "2"))
    return ended(workspace)


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out


@pytest.mark.parametrize("dies", ["nobody", "node", "launcher", "both"])
def test_whoever_dies_all_records_are_there_once_and_as_the_local_launchers(local, tmp_path, dies):
    workspace = Workspace(tmp_path)
    with two_nodes() as cluster:
        asked = (*RUN, "--launcher", "ray", "--address", cluster.address)
        process = workspace.start(*asked)
        if dies != "nobody":
            wait(process, lambda: updates(workspace) > len(local) * 3)
            if dies in ("launcher", "both"):
                process.send_signal(signal.SIGKILL)
            if dies in ("node", "both"):
                cluster.remove_node(cluster.second, allow_graceful=False)
            if dies != "node":
                process.communicate()
                process = workspace.start(*asked)
        out = finish(process)
        if dies in ("nobody", "launcher"):
            assert "2 at a time" in out
        assert "nothing to do" in finish(workspace.start(*asked))
    assert ended(workspace) == local


STUB = """
import json, sys
from pathlib import Path

def main():
    file = Path(sys.argv[1])
    with open(file.with_name("metrics.jsonl"), "a") as log:
        token = json.loads(file.read_text())["token"]
        log.write(json.dumps({"event": "start", "token": token}) + "\\n")
    return 0
"""


def test_two_hundred_short_jobs_each_cost_less_than_a_second_more(tmp_path, monkeypatch):
    """The code that is run is a copy of ours whose child does nothing: what is left is ours."""
    monkeypatch.setenv("SMOL_CACHE", str(tmp_path / "cache"))
    code = tmp_path / "code"
    shutil.copytree(snapshot.take(tmp_path), code)
    (code / "harness" / "train" / "worker.py").write_text(STUB)
    one = job(tmp_path, None)
    config = replace(one.run.config, {"train.threads": 1})  # what a node has
    one = one.model_copy(update={"run": one.run.model_copy(update={"config": config})})
    Path(one.data_folder).mkdir()
    (Path(one.data_folder) / "manifest.json").write_text("{}")
    jobs = [
        one.model_copy(
            update={
                "run": one.run.model_copy(update={"key": f"{number:064x}"}),
                "folder": str(tmp_path / f"run{number}"),
            }
        )
        for number in range(200)
    ]

    def seconds(launcher, some) -> float:
        began = time.monotonic()
        done = execute(
            some, launcher=launcher, workers=2, code=code, display=Quiet(),
            on_record=lambda *_: None,
        )  # fmt: skip
        assert len(done) == len(some)
        assert {"ended with code 0" in str(r.error) or r.error for r in done} == {True}
        return (time.monotonic() - began) / len(some) * 2  # two at a time

    from harness.launch.launchers.ray import Ray

    launcher = Ray()
    with two_nodes() as cluster:
        launcher.address = cluster.address
        launcher.open(code)
        try:
            own = seconds(Local(), jobs[:10])
            seconds(launcher, [one.model_copy(update={"folder": str(tmp_path / "warm")})])
            taken = seconds(launcher, jobs)
        finally:
            launcher.close()
    print(f"a job: {taken:.2f} s, of which its process alone {own:.2f} s")
    assert taken - own < 1.0
    assert len(store.read_all(Path(one.results))) >= 200


def test_no_cluster_at_an_address_is_one_line_and_changes_nothing(tmp_path):
    workspace = Workspace(tmp_path)
    process = workspace.start(*RUN, "--launcher", "ray", "--address", "127.0.0.1:9")
    _, err = process.communicate()
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("smol: --address 127.0.0.1:9: no Ray cluster answers")
    assert not workspace.results.exists() or not workspace.records()
