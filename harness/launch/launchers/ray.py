"""The launcher `ray`: each run is a task of a Ray cluster, on whatever node is free.

Ray places, retries and cancels the tasks, and brings the code to the nodes. A node that dies loses
its worker alone: Ray starts the task again elsewhere, and it goes on from the last checkpoint that
reached the launcher's machine, see `harness.launch.away`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.files import write_atomically
from harness.launch import account, away
from harness.launch.base import Launcher, Task, kept
from harness.launch.protocol import Job
from harness.launch.tail import Tail
from harness.machine import devices
from harness.plan.runs import Run
from harness.records.schema import Record, Status

RETRIES = 5
"""How often a run may lose its node before its launcher gives it up."""
STORE_BYTES = 200 * 2**20
"""Of a cluster that is started here for this launch alone: pieces of files pass through it."""
ANSWER_SECONDS = 10.0
PROBE_SECONDS = 120.0
THREADS = 8
"""How many workers the keeper answers at once."""


@dataclass
class Sent(Task):
    """A task of Ray's."""

    reference: Any


class Ray(Launcher):
    """Runs on the nodes of a cluster that are of the same kind as this machine."""

    name = "ray"
    takes_address = True

    def __init__(self) -> None:
        self._keeper: Any = None
        self._kinds: dict[str, str] = {}
        """The product of each node's device, by the node's id."""
        self._pinned: str | None = None
        """The node of runs that are timed."""

    def absence(self) -> str | None:
        """Where Ray is not installed."""
        if importlib.util.find_spec("ray") is None:
            return "Ray is not installed: pip install 'smol-harness[ray]' (in a clone '.[ray]')"
        return None

    def open(self, code: Path) -> None:
        """Join the cluster at `address`, else one that is started here and ends with the launch.

        Raises RequestError where no cluster answers.
        """
        _check_answers(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

        own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
        there = self.address is not None
        try:
            ray.init(
                address=self.address if there else "local",
                runtime_env={"working_dir": str(code)},
                log_to_driver=False, logging_level=logging.ERROR, **({} if there else own),
            )  # fmt: skip
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            said = str(error).strip().splitlines()
            raise RequestError(
                f"--address {self.address}: no Ray cluster answers ({said[0] if said else error})"
            ) from None
        here = ray.get_runtime_context().get_node_id()
        self._kinds, self._pinned = {}, None
        self._keeper = (
            ray.remote(away.Keeper)
            .options(
                num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=THREADS,
                scheduling_strategy=On(here, soft=False),
            )
            .remote()
        )  # fmt: skip

    def close(self) -> None:
        """Leave the cluster, which ends what still runs there for this launch."""
        import ray

        self._keeper = None
        ray.shutdown()

    def at_once(self, here: int, runs: Sequence[Run]) -> int:
        """What the nodes of this kind hold."""
        import ray

        nodes = self._nodes(runs[0].device)
        found = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        need = _need(runs[0])
        room = [
            min(int(found[node].get(name, 0) // amount) for name, amount in need.items())
            for node in nodes
        ]
        return max(1, sum(room))

    def start(self, job: Job, code: Path) -> Sent:
        """Hand a job to Ray."""
        import ray

        files = job.files
        files.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(files.job, job.model_dump_json(indent=1))
        need, nodes = _need(job.run), self._nodes(job.run.device)
        if job.launch is not None:  # timed: always on one node, with nothing beside it
            if self._pinned not in nodes:
                self._pinned = nodes[0]
            nodes = [self._pinned]
            (node,) = (one for one in ray.nodes() if one["NodeID"] == self._pinned)
            need["CPU"] = node["Resources"].get("CPU", need["CPU"])
        reference = (
            ray.remote(_work)
            .options(
                num_cpus=need["CPU"], num_gpus=need.get("GPU", 0), max_retries=RETRIES,
                name=job.run.name, scheduling_strategy="SPREAD",
                label_selector={"ray.io/node-id": f"in({','.join(nodes)})"},
            )
            .remote(job.model_dump_json(), self._keeper)
        )  # fmt: skip
        # Nobody else writes there: workers speak through the keeper.
        tail = Tail(files.metrics, job.run.config.tokens_per_update, None)
        return Sent(job, tail, reference)

    def poll(self, task: Task) -> bool:
        """Whether Ray has its result."""
        import ray

        return bool(ray.wait([_reference(task)], timeout=0)[0])

    def stop(self, tasks: Sequence[Task]) -> None:
        """Have the workers save their runs' states; cancel whom it takes too long."""
        import ray

        if not tasks:
            return
        references = [_reference(task) for task in tasks]
        left = references
        with contextlib.suppress(KeyboardInterrupt, ray.exceptions.RayError):
            ray.get(self._keeper.stop.remote(), timeout=self.patience_seconds)
            _, left = ray.wait(
                references, num_returns=len(references), timeout=self.patience_seconds
            )
        for reference in left:
            ray.cancel(reference, force=True)

    def collect(self, task: Task) -> Record:
        """The record that a worker sent, stored here, under the next number here."""
        import ray

        job = task.job
        task.tail.poll()
        try:
            record = Record.model_validate_json(ray.get(_reference(task)))
        except ray.exceptions.RayError as error:
            status, why = _why(error)
            return kept(job, lambda at: account.record(job, status, why, attempt=at))
        return kept(job, lambda at: record.model_copy(update={"attempt": at}))

    def _nodes(self, device: str) -> list[str]:
        """The nodes on which a run has the key that it has here: those with the same device.

        Raises RequestError where there is none.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

        alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        probe = ray.remote(_product)
        asked = {
            node: probe.options(num_cpus=0, scheduling_strategy=On(node, soft=False)).remote(device)
            for node in alive
            if node not in self._kinds
        }
        for node, answer in asked.items():
            with contextlib.suppress(ray.exceptions.RayError):  # it has died since
                self._kinds[node] = ray.get(answer, timeout=PROBE_SECONDS)
        mine = devices.of(device).product()
        found = [node for node in alive if self._kinds.get(node) == mine]
        if not found:
            others = ", ".join(sorted({self._kinds.get(node, "unknown") for node in alive}))
            raise RequestError(
                f"no node of the Ray cluster is a {mine}, as this machine is (they are {others}): "
                "start the runs from a machine of their kind"
            )
        return found


def _check_answers(address: str | None) -> None:
    """Ray would try for minutes. Raises RequestError where nothing listens at `host:port`."""
    if address is None or address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise RequestError(f"--address takes host:port, or auto, not '{address}'")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RequestError(f"--address {address}: no Ray cluster answers ({error})") from None


def _need(run: Run) -> dict[str, float]:
    """What Ray sets aside for a run."""
    cpus = {"CPU": float(run.config.train.threads)}
    return cpus if run.device == "cpu" else {**cpus, "GPU": 1.0}


def _product(device: str) -> str:
    return devices.of(device).product()


def _work(text: str, keeper: Any) -> str:
    """Runs on a node."""
    import ray

    return away.work(text, lambda name, *words: ray.get(getattr(keeper, name).remote(*words)))


def _reference(task: Task) -> Any:
    assert isinstance(task, Sent)
    return task.reference


def _why(error: Exception) -> tuple[Status, str]:
    import ray

    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    if isinstance(error, ray.exceptions.TaskCancelledError):
        return "killed", "it took too long to save its state, and was cancelled"
    if isinstance(error, ray.exceptions.RayTaskError):
        return "failed", f"on its node: {lines[-1][:300]}"
    return "killed", f"its nodes died, {RETRIES} times at most: {lines[0][:300]}"


LAUNCHER = Ray()
