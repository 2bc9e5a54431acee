"""SkyPilot, which rents machines of many clouds: a task in YAML, on a cluster of its own."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import Any

import yaml

from harness.errors import RequestError
from harness.launch.templates import RESULTS, JobTemplate, Rental, State, script

CARDS = {
    "h100": "H100", "a100-80gb": "A100-80GB", "a100-40gb": "A100", "rtx-4090": "RTX4090",
    "l40s": "L40S",
}  # fmt: skip
"""Beginnings of names in hardware.toml -> SkyPilot's."""
IDLE_MINUTES = 5
"""After which a cluster ends that nobody hears of."""


class SkyPilot(JobTemplate):
    """`sky launch --down`: the machine ends when its job has ended, whoever is looking."""

    name = "skypilot"
    client = "sky"
    install = "pip install skypilot, in an environment of its own"

    def files(self, order: Rental) -> dict[str, str]:
        """The task."""
        task: dict[str, Any] = {
            "name": order.name,
            "workdir": str(order.code),
            # What earlier machines have done goes along, and is not done again.
            "file_mounts": {"~/home-results": str(order.home / RESULTS)},
            "resources": {"use_spot": False, "disk_size": 100},
        }
        if order.place is not None:
            task["resources"]["infra"] = order.place
        if order.gpu is not None:
            card = next((sky for ours, sky in CARDS.items() if order.gpu.startswith(ours)), None)
            if card is None:
                raise RequestError(f"SkyPilot has no '{order.gpu}': {', '.join(CARDS)}")
            task["resources"]["accelerators"] = f"{card}:1"
        run = "mkdir -p ~/results && cp -rn ~/home-results/. ~/results/\n" + script(
            order, "$HOME/sky_workdir", "$HOME/results"
        )
        text = yaml.safe_dump(task, sort_keys=False) + "run: |\n" + textwrap.indent(run, "  ")
        return {"job.yaml": text}

    def check_command(self, order: Rental) -> list[str]:
        """SkyPilot's own reader, in the environment that has it: no command of it stays offline."""
        sky = shutil.which("sky")
        if sky is None:
            raise FileNotFoundError("sky")
        with open(sky, errors="replace") as file:
            first = file.readline(1000)
        python = first.removeprefix("#!").split() if first.startswith("#!") else []
        return [*(python or ["python3"]), "-c", "import sky; sky.Task.from_yaml('job.yaml')"]

    def submit(self, order: Rental) -> list[str]:
        """The cluster has the job's name, so that a second request starts no second one."""
        words = ["sky", "launch", "--yes", "--detach-run", "--down"]
        return [*words, "--idle-minutes-to-autostop", str(IDLE_MINUTES),
                "--cluster", order.name, "job.yaml"]  # fmt: skip

    def ask(self, order: Rental) -> list[str]:
        """The jobs on its cluster."""
        return ["sky", "queue", "--output", "json", order.name]

    def state(self, said: str, order: Rental) -> State:
        """Of the newest job there."""
        try:
            found = json.loads(said)
        except ValueError:
            return "absent"
        jobs = found.get(order.name, []) if isinstance(found, dict) else found
        if not jobs:
            return "absent"
        status = str(jobs[0].get("status", "")).rpartition(".")[2].upper()
        if status in ("INIT", "PENDING", "SETTING_UP"):
            return "running"  # the machine is there, and costs
        return "running" if status == "RUNNING" else "ended"

    def fetch(self, order: Rental) -> list[str]:
        """SkyPilot gives the cluster's name to ssh."""
        return ["rsync", "-a", "--exclude=.*", f"{order.name}:results/", f"{order.home / RESULTS}/"]

    def cancel(self, order: Rental) -> list[str]:
        """The machine itself."""
        return ["sky", "down", "--yes", order.name]


TEMPLATE = SkyPilot()
