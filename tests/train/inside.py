"""Runs of a recipe inside the test's own process, each on a compiler that only writes down."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
import torch._inductor.compile_fx
from torch._dynamo.utils import counters

from harness.commands import run
from harness.launch import base
from harness.launch.launchers.local import Local
from harness.launch.protocol import Job
from harness.records.schema import Record
from harness.train.worker import Worker


@dataclass
class Watched:
    """One run, and what torch asked its compiler for."""

    name: str
    last: int
    """Updates, counted from the run's own first."""
    first: int
    graphs: list[tuple[int, bool, bool]] = field(default_factory=list)
    """(updates done when it was asked for, whether a size is symbolic, whether for training)."""
    record: Record | None = None


@contextmanager
def logged(monkeypatch: Any) -> Iterator[list[Watched]]:
    """Inside, `smol run` works in this process, and inductor's place is taken by a list."""
    stages: list[Watched] = []
    now: list[Worker] = []

    def write_down(graph: torch.fx.GraphModule, inputs: Sequence[Any], **_: Any) -> Callable:
        values = [n.meta.get("example_value") for n in graph.graph.nodes if n.op == "placeholder"]
        sizes = [s for v in (*values, *inputs) if isinstance(v, torch.Tensor) for s in v.shape]
        symbolic = any(isinstance(v, torch.SymInt) for v in (*values, *inputs, *sizes))
        progress = now[-1].progress
        done = progress.update - stages[-1].first if progress else 0
        stages[-1].graphs.append((done, symbolic, torch.is_grad_enabled()))
        return graph.forward

    def start(self: Local, job: Job, code: Path) -> base.Task:
        torch._dynamo.reset()
        counters.clear()
        job = base.ready(job).model_copy(update={"launcher": os.getppid()})
        task = base.task_of(job)
        stages.append(Watched(job.run.name, job.run.last_update - job.run.first_update,
                            job.run.first_update))  # fmt: skip
        now.append(Worker(job))
        stages[-1].record = now[-1].execute()
        return task

    # Else pytest keeps, for each graph, thousands of lines that nobody reads.
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    monkeypatch.setattr(torch._inductor.compile_fx, "compile_fx", write_down)
    monkeypatch.setattr(Local, "start", start)
    monkeypatch.setattr(Local, "poll", lambda self, task: True)
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    config, threads = torch._dynamo.config, torch.get_num_threads()
    before = config.automatic_dynamic_shapes, config.recompile_limit
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        yield stages
    finally:
        torch._dynamo.reset()
        counters.clear()
        config.automatic_dynamic_shapes, config.recompile_limit = before
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)
        for number, handler in heard.items():
            signal.signal(number, handler)


SMALL = (
    "model.width=32", "model.layers=2", "model.heads=2", "model.kv_heads=1", "model.head_dim=16",
    "train.compile=blocks",
)  # fmt: skip


def train(folder: Path, recipe: str, *settings: str) -> None:
    """A recipe at `smoke`, one seed, small, compiled block by block unless the settings say
    otherwise."""
    chosen = [*SMALL, *settings]
    run.run(run.Options(recipe, "smoke", "cpu", 1, chosen, results=folder / "results"))
