"""The child process's first steps: it ends with its launcher. `python -P -m harness.train JOB`.

Before anything heavy is imported, so that a launcher that died meanwhile leaves nobody behind.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from harness.launch.parent import parent_of

PR_SET_PDEATHSIG = 1
"""The option of Linux's prctl that sets the signal which this process gets when its parent dies."""


def end_with(launcher: int) -> bool:
    """Whether the process `launcher` is this one's parent; from here on Linux sends this one a
    SIGTERM when it dies. Elsewhere the worker asks before its lock and before each update."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == launcher  # asked afterwards: it may have died before


def main() -> int:
    """Execute the job whose file is the only argument; exit code 2 where its launcher is gone."""
    launcher = parent_of(json.loads(Path(sys.argv[1]).read_bytes())["launcher"])
    if not end_with(launcher):
        print(f"the launcher of this run, process {launcher}, is gone", file=sys.stderr)
        return 2
    from harness.train import worker

    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
