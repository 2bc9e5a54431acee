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


def disk_bytes(runs: Sequence[Run], *, keeps: int = 0) -> float:
    """The most that checkpoints take at once, one run after another: while a run goes on its
    branches and its rolling state, twice, since the next is written beside the last; afterwards its
    final weights. States of up to `keeps` bytes stay, larger ones go once they have served
    (`harness.launch.disk`)."""
    children = {run.key: {r.key for r in runs if r.parent == run.key} for run in runs}
    by_key = {run.key: run for run in runs}
    ended: set[str] = set()
    held = most = 0.0
    for run in runs:
        most = max(most, held + running_bytes(run))
        state, branches = state_bytes(run.config), len(run.branch_at)
        held += weights_bytes(run.config) + branches * state
        ended.add(run.key)
        if state <= keeps:
            held += state
            continue
        for other in (run, by_key.get(run.parent or "")):
            if other is not None and other.branch_at and children[other.key] <= ended:
                held -= len(other.branch_at) * state_bytes(other.config)
    return max(most, held)


def running_bytes(run: Run) -> float:
    """The most that one run's own states take while it goes on."""
    state = state_bytes(run.config)
    return 2 * state + len(run.branch_at) * state + weights_bytes(run.config)


def data_bytes(plan: Plan, tokens_of: TrainTokens) -> float:
    """Prepared data on the disk."""
    specifications = {run.config.data for run in plan.runs}
    sizes = [tokens_of(data) or data.train_tokens or 0 for data in specifications]
    return float(TOKEN_BYTES * sum(sizes))


def host_bytes(runs: Sequence[Run], at_once: int) -> float:
    """The host's memory while runs train: each holds its state once more while it is saved."""
    largest = max(state_bytes(run.config) for run in runs)
    return at_once * (HOST_BYTES + largest)


def weights_bytes(config: RunConfig) -> int:
    """Final weights, fp32."""
    return FULL * total_parameters(config.model)


def state_bytes(config: RunConfig) -> int:
    """Weights and optimizer state, as a checkpoint to resume from has them."""
    return (1 + MOMENTS) * weights_bytes(config)
