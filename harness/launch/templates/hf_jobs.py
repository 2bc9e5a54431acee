"""Hugging Face's jobs: a container, the clone mounted to read, a bucket to write results to."""

from __future__ import annotations

import json
import re

from harness.errors import RequestError, nearest
from harness.launch.templates import RESULTS, JobTemplate, Rental, State, script

FLAVORS = {"a100-80gb": "a100-large", "l40s": "l40sx1", "h200": "h200"}
"""Beginnings of names in hardware.toml -> the machine with one such card."""
IMAGE = "python:3.12"
BUCKET = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class HfJobs(JobTemplate):
    """`hf jobs run`: it ends at its own limit, whoever is looking."""

    name = "hf-jobs"
    client = "hf"
    install = "pip install huggingface_hub"

    def files(self, order: Rental) -> dict[str, str]:
        """What the container does."""
        self._flavor(order)
        self._bucket(order)
        return {"job.sh": script(order, "/code", "/results")}

    def _flavor(self, order: Rental) -> str:
        if order.gpu is None:
            return "cpu-upgrade"
        found = [flavor for ours, flavor in FLAVORS.items() if order.gpu.startswith(ours)]
        if not found:
            raise RequestError(f"Hugging Face's jobs have no '{order.gpu}': {', '.join(FLAVORS)}")
        return found[-1]

    def _bucket(self, order: Rental) -> str:
        if order.place is None or not BUCKET.fullmatch(order.place):
            raise RequestError(
                "--place OWNER/BUCKET: results of Hugging Face's jobs go to a bucket of yours"
            )
        return f"hf://buckets/{order.place}"

    def _run(self, order: Rental, *more: str) -> list[str]:
        return [
            "hf", "jobs", "run", "--name", order.name, "--flavor", self._flavor(order),
            "--timeout", f"{order.seconds + 180}s",  # states are saved after the budget's work
            *more,
            "--volume", f"{order.code}:/code", "--volume", f"{order.home}:/job",
            "--volume", f"{self._bucket(order)}:/results", IMAGE, "bash", "/job/job.sh",
        ]  # fmt: skip

    def check_command(self, order: Rental) -> list[str]:
        """The client says what it would ask for."""
        return self._run(order, "--dry-run")

    def check(self, order: Rental) -> str | None:
        """With the client's own list of machines, which its dry run does not look at."""
        from huggingface_hub import JobHardware

        flavor, known = self._flavor(order), [one.value for one in JobHardware]
        if flavor not in known:
            raise RequestError(f"hf refuses the job: no machine '{flavor}'{nearest(flavor, known)}")
        return super().check(order)

    def submit(self, order: Rental) -> list[str]:
        """By name."""
        return self._run(order, "--detach")

    def ask(self, order: Rental) -> list[str]:
        """All jobs of that name."""
        return ["hf", "jobs", "ps", "--all", "--name", order.name, "--format", "json"]

    def state(self, said: str, order: Rental) -> State:
        """The one that is furthest from its end."""
        try:
            jobs = json.loads(said)
        except ValueError:
            return "absent"
        found = {str(job.get("status", "")).upper() for job in jobs}
        if not found:
            return "absent"
        if "RUNNING" in found:
            return "running"
        return "waiting" if found & {"SCHEDULING", "QUEUED"} else "ended"

    def fetch(self, order: Rental) -> list[str]:
        """The bucket's files."""
        return ["hf", "buckets", "sync", self._bucket(order), str(order.home / RESULTS)]

    def cancel(self, order: Rental) -> list[str]:
        """The jobs of that name that go on."""
        listed = f"hf jobs ps --name {order.name} --format quiet"
        return ["sh", "-c", f"{listed} | xargs -r -n 1 hf jobs cancel"]


TEMPLATE = HfJobs()
