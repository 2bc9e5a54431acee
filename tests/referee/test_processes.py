"""Whose processes are ended with a run: its own, and never a person's who looks at its folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.referee import processes
from harness.referee.processes import Family


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_a_shell_that_stands_in_a_left_over_folder_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path)
    try:
        while os.readlink(f"/proc/{shell.pid}/cwd") != str(tmp_path):
            time.sleep(0.01)
        left = Family("of a run that is gone", since_now=False, folder=tmp_path)
        assert left.end() == 0
        assert shell.poll() is None
        monkeypatch.setattr(processes, "INIT", os.getpid())  # as if it were an orphan
        assert left.end() == 1
        assert shell.wait(10) != 0
    finally:
        shell.kill()
        shell.wait()
