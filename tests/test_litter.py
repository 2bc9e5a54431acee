"""What killed writers leave is removed at once by the next, and what living ones write is not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.code.provenance import ROOT
from harness.files import new_folder, remove_litter, write_atomically

WRITES = """
import os, sys, time
from pathlib import Path
from harness import files
def stay(*_):
    print("ready", flush=True)
    time.sleep(60)
os.fsync = stay
files.write_atomically(Path("file"), "content")
"""
FILLS = """
import time
from pathlib import Path
from harness.files import new_folder
with new_folder(Path("out")) as folder:
    (folder / "part").write_text("x" * 10)
    print("ready", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def at_work(program: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="a lock that a process's end releases")
@pytest.mark.parametrize("program", [WRITES, FILLS], ids=["file", "folder"])
def test_only_what_a_dead_process_left_is_removed(tmp_path: Path, program: str) -> None:
    with at_work(program, tmp_path) as process:
        (temporary,) = names(tmp_path)
        assert remove_litter(tmp_path, below=True) == 0
        write_atomically(tmp_path / "other", "mine")
        assert names(tmp_path) == sorted([temporary, "other"])
        process.send_signal(signal.SIGKILL)
        process.wait()
        if program == WRITES:
            write_atomically(tmp_path / "other", "mine")
        else:
            with new_folder(tmp_path / "out") as folder:
                (folder / "whole").touch()
    assert temporary not in names(tmp_path)


def test_a_users_folder_of_a_like_name_is_theirs(tmp_path: Path) -> None:
    for name in (".out-backup12", ".out-abcdefgh"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").touch()
    (tmp_path / ".out-elsewhre").symlink_to(tmp_path / ".out-backup12")
    with new_folder(tmp_path / "out") as folder:
        (folder / "whole").touch()
    assert remove_litter(tmp_path, below=True) == 0
    assert names(tmp_path) == [".out-abcdefgh", ".out-backup12", ".out-elsewhre", "out"]
