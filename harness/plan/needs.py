"""What a plan needs beside time on the device: passes over its data, disk, and the host's memory.

Arithmetic on the resolved plan, which nobody measured: it says what to rent. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness.config import DataConfig, RunConfig
from harness.plan.runs import Plan, Run
from models.config import total_parameters

MAX_EPOCHS = 4.0
"""Up to so many passes over its data a model of this kind learns almost as from new text
(arXiv 2305.16264, section 5); above, a comparison measures who memorises."""
FULL = 4
"""Bytes of an fp32 value."""
MOMENTS = 2
"""Values of optimizer state a parameter: AdamW's; Muon holds one."""
HOST_BYTES = 3 * 10**9
"""Of a process that trains on a card: torch, CUDA's libraries, the tokens of an update."""
TOKEN_BYTES = 4 * 2
"""A prepared token and its target, int32 each."""

TrainTokens = Callable[[DataConfig], int | None]
"""The tokens of a specification's training split; None where it is not prepared."""


def epochs(runs: Iterable[Run], tokens_of: TrainTokens) -> tuple[float, Run, bool] | None:
    """The most passes that any run makes over its training data, that run, and whether the data's
    size is known rather than asked for. None where nothing tells the size of any."""
    found: tuple[float, Run, bool] | None = None
    for run in runs:
        known = tokens_of(run.config.data)
        size = known or run.config.data.train_tokens
        if not size:
            continue
        passes = run.last_update * run.config.tokens_per_update / size
        if found is None or passes > found[0]:
            found = passes, run, known is not None
    return found


def disk_bytes(plan: Plan) -> float:
    """The most that checkpoints of all the plan's runs take at once, nothing deleted: of each run
    its final weights and a state to resume from, and of a stem a state at each branch."""
    return sum(_weights(run.config) + (1 + len(run.branch_at)) * _state(run.config)
               for run in plan.runs)  # fmt: skip


def data_bytes(plan: Plan, tokens_of: TrainTokens) -> float:
    """Prepared data on the disk."""
    specifications = {run.config.data for run in plan.runs}
    sizes = [tokens_of(data) or data.train_tokens or 0 for data in specifications]
    return float(TOKEN_BYTES * sum(sizes))


def host_bytes(runs: Sequence[Run], at_once: int) -> float:
    """The host's memory while runs train: each holds its state once more while it is saved."""
    largest = max(_state(run.config) for run in runs)
    return at_once * (HOST_BYTES + largest)


def _weights(config: RunConfig) -> int:
    return FULL * total_parameters(config.model)


def _state(config: RunConfig) -> int:
    """Weights and optimizer state, as a checkpoint to resume from has them."""
    return (1 + MOMENTS) * _weights(config)
