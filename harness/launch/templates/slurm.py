"""Slurm: a batch script in a folder that the cluster's nodes share."""

from __future__ import annotations

import shlex

from harness.launch.templates import RESULTS, JobTemplate, Rental, State, script

WAITING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED"})
CONFIG = "check.conf"
"""A cluster of nothing, for the client to read the script by where it knows no real one."""
NO_ANSWER = ("Unable to contact", "Connection refused", "Communication connection failure")
"""What the client says once it has read the script and looks for a controller."""


class Slurm(JobTemplate):
    """`sbatch`; results stand in the shared folder at once."""

    name = "slurm"
    client = "sbatch"
    install = "apt-get install slurm-client"

    def files(self, order: Rental) -> dict[str, str]:
        """The batch script, and what it is checked by."""
        minutes = -(-order.seconds // 60) + 3  # SIGTERM's two minutes are beyond the budget's work
        lines = [
            "#!/bin/bash",
            f"#SBATCH --job-name={order.name}",
            f"#SBATCH --time={minutes}",
            "#SBATCH --no-requeue",  # who follows the job asks again, with what is left
            "#SBATCH --export=NONE",  # nothing of this environment, no credential either
            "#SBATCH --output=job.log",
            "#SBATCH --open-mode=append",
        ]
        if order.place is not None:
            lines.append(f"#SBATCH --partition={order.place}")
        if order.gpu is not None:
            lines.append("#SBATCH --gres=gpu:1")
        code, results = (shlex.quote(str(p)) for p in (order.code, order.home / RESULTS))
        config = (
            "ClusterName=check\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\n"
            "AuthType=auth/none\nSelectType=select/cons_tres\nGresTypes=gpu\n"
            "MessageTimeout=1\nTCPTimeout=1\n"
            "NodeName=localhost CPUs=1\nPartitionName=all Nodes=ALL Default=YES\n"
        )
        body = script(order, code, results)
        return {"job.sh": "\n".join(lines) + "\n" + body, CONFIG: config}

    def check_command(self, order: Rental) -> list[str]:
        """The real client's parser."""
        return ["sbatch", "--test-only", "job.sh"]

    def check_environment(self, order: Rental) -> dict[str, str]:
        """Away from any real controller, which would be asked."""
        return {"SLURM_CONF": str(order.home / CONFIG)}

    def refused(self, code: int, said: str) -> str | None:
        """Not where it has come as far as looking for a controller."""
        if any(words in said for words in NO_ANSWER):
            return None
        return super().refused(code, said)

    def submit(self, order: Rental) -> list[str]:
        """From the shared folder."""
        return ["sbatch", "--parsable", "job.sh"]

    def ask(self, order: Rental) -> list[str]:
        """By name: an id may be lost with the answer to `sbatch`."""
        return ["squeue", "--noheader", "--me", f"--name={order.name}", "--format=%T"]

    def state(self, said: str, order: Rental) -> State:
        """A job that has ended is in the queue no more."""
        states = said.split()
        if not states:
            return "absent"
        return "waiting" if all(state in WAITING for state in states) else "running"

    def fetch(self, order: Rental) -> list[str]:
        """Nothing: the folder is shared."""
        return []

    def cancel(self, order: Rental) -> list[str]:
        """SIGTERM first, and the rest of Slurm's ways."""
        return ["scancel", "--me", f"--name={order.name}"]


TEMPLATE = Slurm()
