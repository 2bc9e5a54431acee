"""Each check of the acceptance catches a fault that is planted for it, and passes without one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from bench.acceptance import parity, training
from bench.acceptance.verdicts import Verdicts
from harness.plan import profiles
from harness.train import graphs
from models.kernels import attention, document_mask
from models.lm import LanguageModel

PLANTED = """
import dataclasses, sys
from bench.acceptance import {check}
from models.kernels import registry

right = registry.OPS["swiglu"]
wrong = dataclasses.replace(right, kernel=lambda *a: right.kernel(*a) * {factor})
{check}.OPS = {{"swiglu": wrong}}
registry.OPS["swiglu"] = wrong
{more}
sys.exit({check}.main("cpu"))
"""
"""A check of the kernels, of one alone, whose results are off by a factor."""
QUICK = ("grouped", "documents", "muon", "peak", "recompute")


def failed(name: str) -> int:
    verdicts = Verdicts()
    training.CHECKS[name]("cpu", verdicts)
    return verdicts.failed


def wrong_groups(monkeypatch):
    right = training.grouped_mm
    monkeypatch.setattr(
        training, "grouped_mm", lambda x, w, ends: right(x, w, (ends - 1).clamp(min=0))
    )


def mask_without_borders(monkeypatch):
    right = document_mask.visible
    monkeypatch.setattr(document_mask, "visible", lambda first: right(torch.zeros_like(first)))


def unscaled(monkeypatch):
    monkeypatch.setattr(training.stacked, "matrices", lambda t, rows: [t] if t.ndim == 2 else [*t])


def small_estimate(monkeypatch):
    monkeypatch.setattr(profiles, "memory_bytes", lambda config, micro: 10**6 * micro)


def kept_in_twice_the_width(monkeypatch):
    right = training._built

    def built(config, device):
        wide = right(config, device).double()
        wide.compute_dtype = torch.float64
        return wide

    monkeypatch.setattr(training, "_built", built)


def recomputed_with_noise(monkeypatch):
    right = LanguageModel.hidden

    def hidden(self, *others):
        x, routings = right(self, *others)
        return (x * 1.01 if self.recompute else x), routings

    monkeypatch.setattr(LanguageModel, "hidden", hidden)


def other_blocks(monkeypatch):
    right = graphs.apply

    def apply(model, config, device):
        right(model, config, device)
        if config.train.compile != "eager":
            model.final_norm.weight.data.mul_(1.5)

    monkeypatch.setattr(graphs, "apply", apply)


def never_compiled(monkeypatch):
    monkeypatch.setattr(graphs, "apply", lambda *_: None)


def never_compiled_beside_a_graph(monkeypatch):
    """On a card the optimizer's step is a graph of its own."""

    def apply(*_):
        torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2))

    monkeypatch.setattr(graphs, "apply", apply)


def forgotten_momentum(monkeypatch):
    right = training.state.resume

    def resume(found, model, optimizers):
        for part in optimizers.parts.values():
            part.load_state_dict = lambda state: None
        return right(found, model, optimizers)

    monkeypatch.setattr(training.state, "resume", resume)


def a_slow_update(monkeypatch):
    ticks = iter(range(0, 10**9, 10**6))
    monkeypatch.setattr(training.time, "perf_counter", lambda: float(next(ticks)))


FAULTS = {
    "grouped": [wrong_groups], "documents": [mask_without_borders], "muon": [unscaled],
    "peak": [small_estimate, kept_in_twice_the_width], "recompute": [recomputed_with_noise],
    "compiled": [other_blocks, never_compiled, never_compiled_beside_a_graph],
    "resume": [forgotten_momentum], "speed": [a_slow_update],
}  # fmt: skip


def test_every_check_has_a_fault():
    assert FAULTS.keys() == training.CHECKS.keys()


def check(name: str, monkeypatch) -> None:
    assert not failed(name)
    for fault in FAULTS[name]:
        with monkeypatch.context() as planted:
            fault(planted)
            assert failed(name), f"{name} does not see {fault.__name__}"


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_caught(name, monkeypatch):
    check(name, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAULTS if name not in QUICK])
def test_a_planted_fault_is_caught_slowly(name, monkeypatch):
    check(name, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("check", ["kernels", "configurations"])
def test_a_kernel_that_is_off_is_caught(check):
    more = "configurations.chunks = lambda *_: None" if check == "configurations" else ""
    codes = [
        subprocess.run(
            [sys.executable, "-c", PLANTED.format(check=check, factor=factor, more=more)],
            env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
            check=False, timeout=240,
        ).returncode
        for factor in (1.0, 1.05)
    ]  # fmt: skip
    assert codes == [0, 1]


@pytest.mark.slow
def test_a_model_that_is_not_transformers_is_caught(monkeypatch):
    verdicts = Verdicts()
    parity.exact("dense", "smoke", "cpu", verdicts)
    assert not verdicts.failed
    export = parity.to_transformers

    def then_changed(built, folder):
        export(built, folder)
        built.final_norm.weight.data.mul_(1.01)

    monkeypatch.setattr(parity, "to_transformers", then_changed)
    parity.exact("dense", "smoke", "cpu", verdicts)
    assert verdicts.failed


def stale_copies(monkeypatch):
    """Working weights that are filled once."""
    right, seen = torch._foreach_copy_, set()

    def once(copies, masters, **others):
        if id(copies[0]) not in seen:
            seen.add(id(copies[0]))
            right(copies, masters, **others)

    monkeypatch.setattr(torch, "_foreach_copy_", once)


def no_borders(monkeypatch):
    right = attention.allowed
    monkeypatch.setattr(attention, "allowed", lambda numbers: right(torch.zeros_like(numbers)))
    blocked = attention._forward
    monkeypatch.setattr(attention, "_forward", lambda q, k, v, _, out: blocked(q, k, v, None, out))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fault"), [("updates", stale_copies), ("packed", no_borders)])
def test_a_model_that_trains_otherwise_is_caught(name, fault, monkeypatch):
    failed = []
    for planted in (False, True):
        with monkeypatch.context() as place:
            if planted:
                fault(place)
            verdicts = Verdicts()
            getattr(parity, name)("smoke", "cpu", verdicts)
            failed.append(verdicts.failed)
    assert failed[0] == 0
    assert failed[1] > 0


LAST_CHUNK = """
import sys, pytest
from models.kernels import cross_entropy

cross_entropy.LOGITS_BYTES["cpu"] = 16 * 4096 * 2  # several chunks of 64 rows
right = cross_entropy._add_products
def last(total, gradient, hidden):
    if {planted}:
        total.zero_()
    right(total, gradient, hidden)
cross_entropy._add_products = last
sys.exit(pytest.main(
    ["bench/test_head.py", "-q", "-p", "no:cacheprovider", "--benchmark-quiet", "--bench-rounds=1",
     "--bench-tiny", "--bench-device=cpu"]
))
"""
"""A bench whose contestant keeps of its gradient what the last chunk gave."""


@pytest.mark.slow
def test_a_bench_of_something_that_is_wrong_fails():
    codes = [
        subprocess.run(
            [sys.executable, "-c", LAST_CHUNK.format(planted=planted)], check=False, timeout=240
        ).returncode
        for planted in (False, True)
    ]
    assert codes == [0, 1]


CHUNKS = """
import dataclasses, sys
from bench.acceptance import configurations
from bench.acceptance.verdicts import Verdicts
from harness.bench.kernels.interpreter import rounding_casts

right = configurations.OPS["head_cross_entropy"]
if {planted}:  # what comes after the first rows is not scored
    configurations.OPS["head_cross_entropy"] = dataclasses.replace(
        right, kernel=lambda h, w, t: right.kernel(h[:64], w, t[:64])
    )
verdicts = Verdicts()
with rounding_casts():
    configurations.chunks("cpu", verdicts)
sys.exit(verdicts.exit_code)
"""


@pytest.mark.slow
def test_a_head_that_forgets_chunks_is_caught():
    codes = [
        subprocess.run(
            [sys.executable, "-c", CHUNKS.format(planted=planted)], check=False, timeout=240,
            env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        ).returncode
        for planted in (False, True)
    ]  # fmt: skip
    assert codes == [0, 1]
