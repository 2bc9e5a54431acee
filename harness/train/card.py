"""What torch finds on the GPU that it would use: `python -P -m harness.train.card`.

For `harness.machine.cards`, which asks before a run is planned, in a process of its own since a
driver may hang or end it. Prints one JSON object on the last line.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def product() -> None:
    """One bf16 product, on the device and back. Raises what torch raises."""
    import torch

    x = torch.ones(64, 64, dtype=torch.bfloat16, device="cuda")
    found = float((x @ x).sum().item())
    if found != 64.0**3:
        raise RuntimeError(f"a bf16 product of ones gave {found}, not {64.0**3}")


def kernel() -> None:
    """One small Triton kernel, built and run. Raises what Triton raises."""
    import torch

    op = importlib.import_module("models.kernels.swiglu").swiglu
    x = torch.ones(4, 64, dtype=torch.bfloat16, device="cuda")
    op(x)
    torch.cuda.synchronize()


def tried(what: Any) -> str:
    """Empty where it worked, else why not, in one line."""
    try:
        what()
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {lines[0][:300]}"
    return ""


def found() -> dict[str, Any]:
    """torch's version and the CUDA that it was built for; the device where there is one."""
    import torch

    answer: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if torch.version.cuda is None or not torch.cuda.is_available():
        # `is_available` swallows the reason; `init` tells it.
        why = tried(torch.cuda.init) if torch.version.cuda is not None else ""
        return answer | {"available": False, "why": why}
    answer |= {"available": True, "count": torch.cuda.device_count()}
    card = torch.cuda.get_device_properties(0)
    answer |= {
        "product": card.name,
        "memory_bytes": card.total_memory,
        "capability": [card.major, card.minor],
        "uuid": str(getattr(card, "uuid", "")),
    }
    answer["bf16"] = tried(product)
    if answer["bf16"]:  # perhaps it is built for other cards
        answer["built_for"] = list(torch.cuda.get_arch_list())
    answer["triton"] = tried(kernel) if not answer["bf16"] else ""
    return answer


def main() -> int:
    """Print what is found."""
    text = json.dumps(found())
    print(f"\n{text}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
