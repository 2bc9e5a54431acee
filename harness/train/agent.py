"""The parent of a run's several processes, torch's agent: `python -P -m harness.train.agent JOB`.

It starts as many as the job says, passes on the signals that ask them to stop, and ends all of
them where one ends badly. It ends with its launcher, as they end with it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from harness.launch.parent import PARENT
from harness.train.__main__ import end_with, watch

SAVING_SECONDS = 50
"""How long processes that were asked to stop may take: less than the launcher's own patience."""
ORPHAN_SECONDS = 0.5
"""How long this process outlives its launcher: those that it started have their own grace then."""


def main() -> int:
    """Run the job whose file is the only argument; exit code 2 where its launcher is gone."""
    path = sys.argv[1]
    job = json.loads(Path(path).read_bytes())
    if not end_with(job["launcher"]):
        print(f"the launcher of this run, process {job['launcher']}, is gone", file=sys.stderr)
        return 2
    watch(job["launcher"], ORPHAN_SECONDS)
    os.environ[PARENT] = str(os.getpid())
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as run

    words = ["--standalone", "--local-addr=127.0.0.1", "--max-restarts=0"]
    words += [f"--nproc-per-node={job['run']['world_size']}"]
    words += [f"--shutdown-timeout={SAVING_SECONDS}", "--no-python"]
    try:
        run([*words, sys.executable, "-P", "-m", "harness.train", path])
    except (ChildFailedError, SignalException):  # the processes have said why
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
