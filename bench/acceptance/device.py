"""Whether the device is there and computes: `python -m bench.acceptance.device cuda|cpu`."""

from __future__ import annotations

import sys

import torch

from harness.machine import devices, hardware
from harness.plan import profiles

ROWS = 1024


def main(device: str) -> int:
    """Exit code 1 where something is missing that all else needs."""
    if device == "cuda":
        if not torch.cuda.is_available():
            built = torch.version.cuda or "none: this is a CPU build"
            print(
                f"no CUDA device: torch {torch.__version__} (CUDA {built}); "
                "rehearse on the CPU with `nox -s gpu -- --rehearse`",
                file=sys.stderr,
            )
            return 1
        name = torch.cuda.get_device_name()
        capability = torch.cuda.get_device_capability()
        memory = torch.cuda.get_device_properties(0).total_memory
        print(f"{name}, sm_{capability[0]}{capability[1]}, {memory / 1e9:.1f} GB")
        print(f"torch {torch.__version__}, CUDA {torch.version.cuda}")
        print(f"profile {profiles.of(memory).name}; peak known: {hardware.peak_of(name)}")
        if devices.of(device).absence():
            print("nvidia-smi does not answer: records could not name the device", file=sys.stderr)
            return 1
        if capability < (8, 0):
            print("bf16 needs compute capability 8.0", file=sys.stderr)
            return 1
    # A product with a known answer: sums of 1024 ones, exact in bf16's accumulator and result.
    ones = torch.ones(ROWS, ROWS, device=device, dtype=torch.bfloat16)
    wrong = int((ones @ ones != ROWS).sum())
    print(f"bf16 product of ones on {device}: {wrong} of {ROWS * ROWS} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
