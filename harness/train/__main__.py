"""The child process's first steps: it ends with its launcher. `python -P -m harness.train JOB`.

Before anything heavy is imported, so that a launcher that died meanwhile leaves nobody behind.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from harness.launch.parent import parent_of

PR_SET_PDEATHSIG = 1
"""The option of Linux's prctl that sets the signal which this process gets when its parent dies."""

ASKED_SECONDS, GRACE_SECONDS = 0.2, 3.5
"""How often this process asks whether its launcher is there; and how long it then has to save its
state. An update that takes longer is given up: the last checkpoint is what the run goes on from."""


def end_with(launcher: int) -> bool:
    """Whether the process `launcher` is this one's parent; from here on Linux sends this one a
    SIGTERM when it dies. Elsewhere the worker asks before its lock and before each update."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == launcher  # asked afterwards: it may have died before


def watch(launcher: int, grace: float = GRACE_SECONDS) -> None:
    """End this process `grace` seconds after `launcher`, whatever it is doing: from a thread of its
    own, as the main one may be inside of one long operation."""

    def wait() -> None:
        while os.getppid() == launcher:
            time.sleep(ASKED_SECONDS)
        time.sleep(grace)
        os._exit(2)

    threading.Thread(target=wait, daemon=True, name="launcher").start()


def main() -> int:
    """Execute the job whose file is the only argument; exit code 2 where its launcher is gone."""
    launcher = parent_of(json.loads(Path(sys.argv[1]).read_bytes())["launcher"])
    if not end_with(launcher):
        print(f"the launcher of this run, process {launcher}, is gone", file=sys.stderr)
        return 2
    watch(launcher)
    from harness.train import worker

    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
