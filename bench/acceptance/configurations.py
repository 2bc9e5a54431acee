"""The numbers of every configuration that tuning may choose, not the winner's alone.

`python -m bench.acceptance.configurations cuda|cpu`: each configuration of each kernel, forward
and backward, against fp64, beside torch's own error; on the CPU in Triton's interpreter (with
TRITON_INTERPRET=1), few rows. And the head over several chunks of logits.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import lru_cache
from typing import Any
from unittest import mock

import torch

from bench.acceptance.verdicts import Verdicts
from harness.bench.kernels.errors import TOLERATED, Truth
from harness.bench.kernels.interpreter import rounding_casts
from models.kernels import cross_entropy, launching
from models.kernels.registry import OPS

ROWS = {"cuda": 1023, "cpu": 5}
CHUNKED_ROWS = {"cuda": 5000, "cpu": 130}
"""Of the head: several chunks of logits, the last of them shorter."""


def main(device: str) -> int:
    """Exit code 1 where an error is more than TOLERATED times torch's own."""
    if (device == "cpu") != launching.INTERPRETED:
        print("TRITON_INTERPRET=1 goes with the CPU, and with nothing else", file=sys.stderr)
        return 1
    verdicts = Verdicts()
    with rounding_casts() if launching.INTERPRETED else nullcontext():
        for name in OPS:
            every(name, device, verdicts)
        chunks(device, verdicts)
    return verdicts.exit_code


def worst(name: str, rows: int, device: str) -> float:
    """The largest error of an op's outputs and gradients in bf16, as a multiple of torch's own."""
    found = truth(name, rows, device).errors(OPS[name].kernel)
    return max(e.kernel / e.torch if e.torch else float(e.kernel > 0) * 1e9 for e in found)


@lru_cache(maxsize=1)
def truth(name: str, rows: int, device: str) -> Truth:
    """One for all configurations of an op."""
    op = OPS[name]
    arguments: tuple[Any, ...] = tuple(
        a.to(device) if isinstance(a, torch.Tensor) else a for a in op.example(rows, torch.bfloat16)
    )
    return Truth(op.reference, arguments, op.differentiable)


def configurations(name: str) -> list[Any]:
    """The distinct configurations of an op's kernels, as far as they fit the card that is here."""
    with launching.recorded() as launches:
        op = OPS[name]
        arguments = [
            a.requires_grad_() if i < op.differentiable else a
            for i, a in enumerate(op.example(64, torch.bfloat16))
        ]
        out = op.kernel(*arguments)
        outputs = out if isinstance(out, tuple) else (out,)
        torch.autograd.backward(outputs, [torch.ones_like(t) for t in outputs])
    kernels = {launch.kernel.name: launch.kernel for launch in launches}.values()
    known = [{launching.label(c): c for c in kernel.configs} for kernel in kernels]
    if torch.cuda.is_available() and not launching.INTERPRETED:
        major, minor = torch.cuda.get_device_capability()
        arch = f"sm_{major}{minor}"
        known = [
            {text: c for text, c in configs.items() if kernel.fits(c, arch)}
            for kernel, configs in zip(kernels, known, strict=True)
        ]
    # One at a time for all kernels of an op: those of a pair have the same names.
    names = {frozenset(c.kwargs) for configs in known for c in configs.values()}
    shared = [c for text, c in known[0].items() if all(text in other for other in known)]
    return shared if len(names) == 1 else []


def every(name: str, device: str, verdicts: Verdicts) -> None:
    """Each configuration of an op; those of unlike kernels are seen as the tuner takes them."""
    found = configurations(name)
    seen = set()
    for config in found or [None]:
        sizes = repr(sorted(config.kwargs.items())) if config else ""
        if launching.INTERPRETED and sizes in seen:  # warps and stages mean nothing there
            continue
        seen.add(sizes)
        with launching.forced(config):
            what = f"{name}, {launching.label(config) if config else 'as tuned'}"
            verdicts.below(
                f"{what}: error, of torch's", worst(name, ROWS[device], device), TOLERATED
            )


def chunks(device: str, verdicts: Verdicts) -> None:
    """The head over several chunks of logits, the last of them shorter."""
    budget = {"cpu": 2**20 * 6} if device == "cpu" else {}
    with mock.patch.dict(cross_entropy.LOGITS_BYTES, budget):
        found = worst("head_cross_entropy", CHUNKED_ROWS[device], device)
    verdicts.below("the head over several chunks: error, of torch's", found, TOLERATED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
