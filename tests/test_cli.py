"""What leaves the door when the system says no: one line, exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "/cache/data"), "/cache/data: Permission denied"),
        (OSError(122, "Disk quota exceeded", "job.json"), "job.json: Disk quota exceeded"),
        (OSError(28, "No space left on device"), "the output could not be written: No space left"),
        (OSError("cannot tell"), "cannot tell"),
    ],
)
def test_whatever_the_system_refuses_is_one_line(monkeypatch, capsys, error, line):
    def fail(**options):
        raise error

    monkeypatch.setattr(cli, "_group", lambda *names, **options: fail)
    monkeypatch.setattr(cli.os, "dup2", lambda *_: None)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"smol: {line}")
    assert said.count("\n") == 1


def smol(folder: Path, prepare: str) -> subprocess.CompletedProcess[str]:
    """`smol list` in `folder`, after a piece of Python in its process."""
    program = f"import os, sys; {prepare}; os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-P", "-m", "harness", "list"]
    return subprocess.run(
        [sys.executable, "-c", program, *command], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prepare", "line"),
    [
        ("os.close(1)", "smol: <stdout>: Bad file descriptor\n"),
        ("os.rmdir(os.getcwd())", "smol: the working folder: No such file or directory\n"),
    ],
)
def test_what_every_command_needs_is_asked_for_first(tmp_path, prepare, line):
    folder = tmp_path / "here"
    folder.mkdir()
    done = smol(folder, prepare)
    assert (done.returncode, done.stderr) == (2, line)


def test_an_error_does_not_repeat_without_end_what_was_typed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["smol", "compare", "a", "b", "é" * 100_000])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("smol: ")
    assert len(said) < 5000
    assert said.count("\n") == 1
