"""The launcher `local`: each job is a process of this machine."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.launch import base, warm
from harness.launch.base import Launcher, Task
from harness.launch.protocol import Job
from harness.records.schema import Status


@dataclass
class Child(Task):
    """A task that is a process of ours."""

    process: subprocess.Popen[bytes] | warm.Forked


class Local(Launcher):
    """Starts a process for each job; its output goes to `worker.log` in the run's folder."""

    name = "local"
    module = "harness.train"
    """What a process runs."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._nurseries: dict[tuple[Path, int], warm.Nursery] = {}

    def start(self, job: Job, code: Path) -> Child:
        """Start a job's process."""
        job = base.ready(job)
        tail = base.task_of(job).tail  # begins where an earlier process's lines end
        if self.may_fork(job):
            return Child(job, tail, self._nursery(job, code).start(job.files.job, job.files.log))
        with open(job.files.log, "ab") as output:
            process = subprocess.Popen(
                base.command(job, self.module),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=base.environment(job, code),
                start_new_session=True,  # a Ctrl-C reaches us alone; we pass it on
            )  # fmt: skip
        return Child(job, tail, process)

    def may_fork(self, job: Job) -> bool:
        """Whether a job's process may be forked from one that has imported torch.

        Not where starting is part of what is measured, nor where a GPU's driver or a compiler's
        helpers would be shared.
        """
        train = job.run.config.train
        plain = job.launch is None and job.run.device == "cpu" and train.compile == "eager"
        return plain and self.module == Local.module and warm.possible()

    def _nursery(self, job: Job, code: Path) -> warm.Nursery:
        """The one whose processes have this code and so many threads."""
        kind = (code, job.run.config.train.threads)
        if kind not in self._nurseries or not self._nurseries[kind].lives:
            self._nurseries[kind] = warm.Nursery(base.environment(job, code), job.files.log)
        return self._nurseries[kind]

    def close(self) -> None:
        """End what processes were forked from."""
        while self._nurseries:
            self._nurseries.popitem()[1].close()

    def poll(self, task: Task) -> bool:
        """Whether the process has ended."""
        return _process(task).poll() is not None

    def stop(self, tasks: Sequence[Task]) -> None:
        """Ask the processes to save their states and end; kill whom it takes too long."""
        processes = [_process(task) for task in tasks]
        for process in processes:
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + self.patience_seconds
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()

    def cause(self, task: Task) -> tuple[Status, str]:
        """The signal that ended the process, or its exit code and last line."""
        code = _process(task).returncode
        assert code is not None  # asked of a task that has ended
        if code < 0:
            name = signal.Signals(-code).name
            return "killed", f"the process was ended by {name}; its last checkpoint is kept"
        words = base.last_words(task.job)
        return "failed", f"the process ended with code {code} and no record: {words}"


def _process(task: Task) -> subprocess.Popen[bytes] | warm.Forked:
    assert isinstance(task, Child)
    return task.process


LAUNCHER = Local()
