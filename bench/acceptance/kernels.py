"""Every kernel, forward and backward, against fp64 on the device, beside torch's own error.

`python -m bench.acceptance.kernels cuda|cpu`; on the CPU it must be started with
TRITON_INTERPRET=1, and few rows are computed.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

import torch
import triton

from bench.acceptance.configurations import configurations
from harness.bench.kernels.errors import DEFAULT_ROWS, ROWS, TOLERATED, compare
from harness.bench.kernels.interpreter import rounding_casts
from models.kernels import launching
from models.kernels.launching import INTERPRETED
from models.kernels.registry import OPS

CUDA_ROWS = 1023
"""Odd: no multiple of any block."""


def main(device: str) -> int:
    """Exit code 1 where an error is more than TOLERATED times torch's own."""
    if (device == "cpu") != INTERPRETED:
        print("TRITON_INTERPRET=1 goes with the CPU, and with nothing else", file=sys.stderr)
        return 1
    failed = 0
    with rounding_casts() if INTERPRETED else nullcontext():
        for name, op in OPS.items():
            rows = CUDA_ROWS if device == "cuda" else ROWS.get(name, DEFAULT_ROWS)
            for dtype in (torch.float32, torch.bfloat16):
                arguments = tuple(
                    a.to(device) if isinstance(a, torch.Tensor) else a
                    for a in op.example(rows, dtype)
                )
                with launching.forced(untuned(name) if dtype == torch.float32 else None):
                    found = compare(op.kernel, op.reference, arguments, op.differentiable)
                for error in found:
                    failed += not error.acceptable
                    verdict = "ok    " if error.acceptable else "FAILED"
                    kind = str(dtype).removeprefix("torch.")
                    print(
                        f"{verdict}  {name}, {rows} rows, {kind}, {error.quantity}: "
                        f"{error.kernel:.2e}, torch's own {error.torch:.2e}"
                    )
    print(f"{failed} errors are more than {TOLERATED:g} times torch's own")
    return 1 if failed else 0


def untuned(name: str) -> triton.Config | None:
    """The configuration that an op's numbers in fp32 are seen with: nobody trains in it, and the
    tuner would build the large ones for minutes, of which few fit. None where kernels of an op
    share none, which are small."""
    shared = [] if INTERPRETED else configurations(name)
    return shared[0] if shared else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
