"""Which process a run's process ends with. It imports nothing else: it is asked before all that."""

from __future__ import annotations

import os

PARENT = "SMOL_AGENT"
"""Variable: of one of several processes of a run, the process that started it."""


def parent_of(launcher: int) -> int:
    """The process that this one ends with: the job's launcher, or the agent of a shared run."""
    return int(os.environ.get(PARENT, launcher))
