"""Several processes at one update: the same losses as one process, whatever is masked where."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from harness import presets
from harness.code.provenance import ROOT
from harness.data.batches import Batch, Validation
from harness.errors import RequestError
from harness.optim.build import build
from harness.optim.peers import shares
from harness.train.evaluate import evaluate, expert_use
from harness.train.ranks import ALONE, Ranks, _buckets
from harness.train.update import update
from tests.models import small

CPU = torch.device("cpu")
SEQUENCES, LENGTH, UPDATES = 7, 16, 50
"""An odd number of sequences: the processes do not have equally many."""


def rows(seed: int, count: int = SEQUENCES) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that can be learned, and targets of which the later rows have ever fewer."""
    random = np.random.default_rng(seed)
    tokens = (random.integers(0, 97, (count, 1)) + 5 * np.arange(LENGTH)) % 97
    targets = np.concatenate([tokens[:, 1:], np.full((count, 1), -100)], axis=1)
    for row in range(count):
        targets[row, : 2 * row] = -100
    return tokens, targets


def trajectory(kind: str, ranks: Ranks) -> list[float]:
    """Losses and gradient norms of the updates, then the validation and the experts' load."""
    model = small.build(small.MOE if kind == "moe" else small.DENSE)
    rates = presets.optim(muon_lr=0.02, adamw_lr=0.002, weight_decay=0.1)
    # In bf16 its iterations would make a rounding of the gradient a hundred times as large.
    optimizers = build(rates.model_copy(update={"muon_ns_dtype": "fp32"}), model)
    optimizers.share(ranks)
    seen = []
    for number in range(UPDATES):
        found = update(
            model, optimizers, Batch(*rows(number)), micro_batch=2, clip_norm=1.0, factor=1.0,
            device=CPU, ranks=ranks,
        )  # fmt: skip
        seen += [found.loss, found.routing_loss, found.grad_norm]
    tokens, targets = rows(UPDATES)
    documents = np.repeat(np.arange(SEQUENCES)[:, None], LENGTH, axis=1)
    data = Validation(tokens, targets, documents, np.ones(97, dtype=np.int64))
    seen.append(evaluate(model, data, 2, CPU, ranks).nats)
    if (use := expert_use(model, data, 2, CPU, ranks)) is not None:
        seen += [*use.entropy, *(count for layer in use.load for count in layer)]
    return seen


def main() -> None:
    """What one of the processes does; the first prints what it saw."""
    torch.set_num_threads(1)
    ranks = Ranks.of_environment()
    ranks.join(CPU)
    found = {kind: trajectory(kind, ranks) for kind in ("dense", "moe")}
    stop = [ranks.any_says(said) for said in (False, ranks.rank == 1)]
    assert stop == [False, True]
    ranks.check_equal("nothing", 3)
    with pytest.raises(RequestError, match="disagree on it: from 0 to 1"):
        ranks.check_equal("it", ranks.rank)
    ranks.leave()
    if ranks.leads:
        print(json.dumps(found))


@pytest.fixture(scope="module")
def together() -> dict[str, list[float]]:
    """What two gloo processes of one thread saw."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", "from tests.train.test_ranks import main; main()"], cwd=ROOT,
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1",
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
            stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    out = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    found: dict[str, list[float]] = json.loads(out[0])
    return found


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_two_processes_see_what_one_sees(together, kind):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = trajectory(kind, ALONE)
    finally:
        torch.set_num_threads(threads)
    assert alone[0] > 2 * alone[3 * UPDATES - 3]  # it learns, so errors would grow
    losses = slice(0, 3 * UPDATES, 3)
    assert together[kind][losses] == pytest.approx(alone[losses], abs=1e-5, rel=0)
    assert together[kind] == pytest.approx(alone, rel=2e-5)  # gradient norms, sums of nats, loads


def test_every_row_is_somebodys_and_buckets_hold_one_type():
    parts = [Ranks(rank, 3).part(8) for rank in range(3)]
    assert [row for part in parts for row in part] == list(range(8))
    assert min(map(len, parts)) == 2
    tensors = [torch.zeros(2), torch.zeros(3), torch.zeros(2, dtype=torch.float64)]
    assert [len(bucket) for bucket in _buckets(tensors)] == [2, 1]


def test_the_work_of_a_step_is_shared_evenly_and_by_all_alike():
    work = [4, 1, 3, 2]
    owners = shares(work, 2)
    loads = [sum(w for w, owner in zip(work, owners, strict=True) if owner == r) for r in (0, 1)]
    assert loads == [5, 5]
    assert shares(work, 2) == owners
    assert set(shares([1], 3)) == {0}
