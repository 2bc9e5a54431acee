"""Whether torch multiplies bf16 faster than fp32 here: `python -P -m harness.train.precision cpu`.

For `harness.evidence.precision`, where a processor's list of instructions does not tell. Prints
a JSON list: whether, and why in one line.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from torch.nn import functional as F

ROWS, INPUTS, OUTPUTS = 512, 576, 1536
"""The feed-forward product of SmolLM2-135M, at half a sequence."""
TRIALS = 3


def seconds(dtype: torch.dtype) -> float:
    """The time of one product, the best of a few; one before them warms up."""
    x, weight = torch.randn(ROWS, INPUTS, dtype=dtype), torch.randn(OUTPUTS, INPUTS, dtype=dtype)
    best = float("inf")
    for trial in range(TRIALS + 1):
        started = time.perf_counter()
        F.linear(x, weight)
        best = min(best, time.perf_counter() - started) if trial else best
    return best


def of_cpu() -> tuple[bool, str]:
    """The library's word, and a product of each precision: both must speak for bf16."""
    ratio = seconds(torch.bfloat16) / seconds(torch.float32)
    has = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    said = f"torch has {'' if has else 'no '}bf16 products for this CPU"
    return has and ratio < 1.0, f"{said}: one takes {ratio:.1f} times as long as in fp32"


def of_gpu() -> tuple[bool, str]:
    """The library's word."""
    found = torch.cuda.is_bf16_supported(including_emulation=False)
    return found, f"torch says that the GPU {'multiplies' if found else 'emulates'} bf16"


def main() -> int:
    """Print what is found of the device that is the only argument."""
    print(json.dumps(of_gpu() if sys.argv[1:] == ["cuda"] else of_cpu()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
