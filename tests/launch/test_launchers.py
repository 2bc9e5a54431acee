"""A launcher is a file: which there are, which are refused, and a user's own from start to card."""

from __future__ import annotations

import pytest

from harness.errors import RequestError
from harness.launch import launchers
from harness.launch.launchers.local import Local
from tests.e2e.conftest import Workspace, make

ONE_BY_ONE = '''
"""A launcher that runs one job after another, in the launcher's own time."""
import subprocess

from harness.launch import base


class OneByOne(base.Launcher):
    name = "one-by-one"

    def start(self, job, code):
        job = base.ready(job)
        task = base.task_of(job)
        with open("started.txt", "a") as file:
            file.write(job.run.name + "\\n")
        subprocess.run(base.command(job), env=base.environment(job, code))
        return task

    def poll(self, task):
        return True

    def stop(self, tasks):
        pass


maker = OneByOne
answer = 42
'''


def test_a_users_launcher_runs_a_recipe_to_its_card(tmp_path):
    workspace: Workspace = make(tmp_path / "folder")
    (tmp_path / "mine.py").write_text(ONE_BY_ONE)
    asked = ("--seeds", "1", "--set", "train.tokens=1280")
    workspace.smol("run", "tiny_rates", *asked, "--launcher", f"{tmp_path}/mine.py:maker")
    records = workspace.records()
    assert [record.status for record in records] == ["ok"] * 4
    started = (workspace.folder / "started.txt").read_text().splitlines()
    assert sorted(started) == sorted(record.name for record in records)
    assert "tiny_rates" in (workspace.results / "MODEL_CARD.md").read_text()


def test_ours_are_found_by_walking_the_folder():
    assert isinstance(launchers.find("local"), Local)
    assert launchers.launchers().keys() >= {"local", "torchrun"}


@pytest.mark.parametrize(
    ("asked", "processes", "why"),
    [
        ("loca", 1, "no launcher 'loca'; did you mean 'local'"),
        ("none.py:Mine", 1, "there is no file 'none.py'"),
        ("mine.py:OneByTwo", 1, "mine.py has no 'OneByTwo'; did you mean 'OneByOne'"),
        ("mine.py:answer", 1, "'answer' is no harness.launch.base.Launcher, but int"),
        ("broken.py:X", 1, "broken.py could not be loaded: broken.py:1: ZeroDivisionError"),
        ("local", 2, "--processes 2: the launcher local gives a run one process; --launcher torch"),
    ],
)
def test_what_is_no_launcher_is_refused_in_one_line(tmp_path, monkeypatch, asked, processes, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(ONE_BY_ONE)
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(RequestError) as refused:
        launchers.find(asked, processes)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
