"""Compiled graphs that stay static, and what the compiler did, for the record.

A stage meets many shapes: the probe of its hand-over, validation and its rest, prompts with a
growing cache. Left to itself torch answers the second one with a graph of symbolic sizes, which
training then uses, and after a few more gives up and goes on uncompiled with a line in a log. Here
the compiled code is kept for the two shapes that cost the time, a micro-step's and a validation
batch's; everything else takes the same blocks uncompiled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.config import Compile, RunConfig
from harness.data.batches import Validation
from harness.records.schema import Compilation
from harness.train import compiled
from harness.train.evaluate import probe_loss
from models.layers import KVCache, LayerCache
from models.lm import LanguageModel

AUTOTUNED = "max-autotune-no-cudagraphs"
"""Inductor's mode under `train.autotune`: it builds and times several implementations of each
product, minutes for a model; a public speed run measured it 1.9 % faster a step."""
MOST_GRAPHS = 16
"""Recompilations of one function that torch may do. Two shapes make two or three; the rest is room
for a user's own block that branches."""
LIMIT = "recompile limit"
"""How torch's own count of what it could not do names the end of compiling."""
OURS = "smol"
"""Our place among torch's own counters, for the graphs of the model: on a GPU an optimizer's step
and attention within documents are compiled too, and would hide that the model was not."""

Shape = tuple[int, int]
"""Sequences, and their length."""


def apply(model: LanguageModel, config: RunConfig, device: torch.device) -> None:
    """Compile a model in place as `train.compile` says, for a run's two shapes; nothing is
    compiled before the first batch, and names of weights stay."""
    mode, train = config.train.compile, config.train
    if mode not in ("blocks", "whole"):
        return
    import torch._dynamo

    torch._dynamo.config.automatic_dynamic_shapes = False
    torch._dynamo.config.recompile_limit = MOST_GRAPHS
    build(model, mode, device, autotune=train.autotune)
    length = config.data.seq_len
    _keep_to(model, mode, (config.batch.micro_batch, length), (train.eval_batch, length))


def build(
    model: LanguageModel, mode: Compile, device: torch.device, *, autotune: bool = False
) -> None:
    """Compile a model in place, for each shape that it meets."""
    if device.type == "cpu" and not autotune:
        compiled.apply(model, mode, device)
        return
    effort = AUTOTUNED if autotune else None
    if mode == "blocks":
        for block in model.blocks:
            block.compile(mode=effort, dynamic=False)
    elif mode == "whole":
        model.hidden = torch.compile(model.hidden, mode=effort, dynamic=False)  # type: ignore[method-assign]


def warm(
    model: LanguageModel, config: RunConfig, validation: Validation, device: torch.device
) -> None:
    """Compile validation's graph before the first update: else it comes in the midst of training,
    or, in a stage that validates only at its end, where nothing is left to gain from it."""
    rows = config.train.eval_batch
    if config.train.compile != "eager" and len(validation.tokens) >= rows:
        with model.working_weights():
            pass  # leaves its marks on the modules: without them the graph would be made twice
        probe_loss(model, next(validation.batches(rows)), device)


def _keep_to(model: LanguageModel, mode: str, training: Shape, validation: Shape) -> None:
    """Use what was compiled for a micro-step's shape with gradients, and for validation's without
    them, alone."""
    if mode == "blocks":
        for block in model.blocks:
            fast, plain = block._compiled_call_impl, block._call_impl
            block._compiled_call_impl = _either(fast, plain, training, validation)
    else:
        plain = LanguageModel.hidden.__get__(model)
        model.hidden = _either(model.hidden, plain, training, validation)  # type: ignore[method-assign]


def _either(
    fast: Callable[..., Any] | None, plain: Callable[..., Any], training: Shape, validation: Shape
) -> Callable[..., Any]:
    """`fast` where the first argument, (sequences, length, ...), is of the shape that the graph was
    made for and no cache comes with it; else `plain`."""
    from torch._dynamo.utils import counters

    assert fast is not None

    def counted(*given: Any, **named: Any) -> Any:
        before = counters["stats"]["unique_graphs"]
        try:
            return fast(*given, **named)
        finally:
            counters[OURS]["graphs"] += counters["stats"]["unique_graphs"] - before

    def call(first: Tensor, *others: Any, **named: Any) -> Any:
        cached = named.get("cache") is not None or any(
            isinstance(one, LayerCache | KVCache) for one in others
        )
        usual = training if torch.is_grad_enabled() else validation
        whole = not cached and tuple(first.shape[:2]) == usual
        return (counted if whole else plain)(first, *others, **named)

    return call


@dataclass
class CompileWatch:
    """What the compiler did in this process, looked at after each update."""

    mode: str
    """`train.compile`."""
    seen: int = 0
    last_update: int | None = None
    told: bool = False

    def look(self, update: int) -> str | None:
        """Note what was compiled by the time that `update` updates were done. A line for the user,
        once, where the run is not compiled as it was to be."""
        if self.mode == "eager":
            return None
        found = self.found()
        if found.graphs > self.seen:
            self.seen, self.last_update = found.graphs, update
        if found.uncompiled is None or self.told:
            return None
        self.told = True
        return found.uncompiled

    def found(self) -> Compilation:
        """For the record."""
        graphs, breaks, limits = _counted()
        reason = None
        if limits:
            reason = f"torch gave up compiling after {MOST_GRAPHS} graphs of one function"
        elif breaks:
            reason = f"{breaks} graph breaks: parts of the model ran between graphs"
        elif not graphs:
            reason = f"train.compile is {self.mode}, and nothing was compiled"
        return Compilation(
            graphs=graphs, breaks=breaks, last_update=self.last_update, uncompiled=reason
        )


def _counted() -> tuple[int, int, int]:
    """(graphs of the model, graph breaks, limits met), by torch's own counters."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is None:
        return 0, 0, 0
    counters = dynamo.counters
    met = sum(
        count
        for place in ("unimplemented", "graph_break")
        for why, count in counters[place].items()
        if LIMIT in str(why)
    )
    broken = sum(count for why, count in counters["graph_break"].items() if LIMIT not in str(why))
    return int(counters[OURS]["graphs"]), broken, met
