"""The launcher `torchrun`: several processes of this machine share each run's updates.

Torch's own agent starts and watches them, and ends all of them where one ends.
"""

from __future__ import annotations

from pathlib import Path

from harness.launch.base import Task
from harness.launch.launchers.local import Child, Local
from harness.launch.protocol import Job
from harness.records.schema import Status


class Torchrun(Local):
    """Starts an agent for each job, and the agent `job.run.world_size` processes."""

    name = "torchrun"
    module = "harness.train.agent"
    shares_runs = True

    def start(self, job: Job, code: Path) -> Child:
        """Start a job's agent."""
        job.files.fault.unlink(missing_ok=True)
        return super().start(job, code)

    def cause(self, task: Task) -> tuple[Status, str]:
        """What a process of the run left as its reason, else how its agent ended."""
        return task.job.files.said_fault() or super().cause(task)


LAUNCHER = Torchrun()
