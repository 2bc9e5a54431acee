"""From the user's words to what a plan needs: scale, device, profile, evidence. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from harness.errors import RequestError, nearest
from harness.machine import hardware
from harness.plan import profiles
from harness.plan.auto import Evidence
from harness.plan.profiles import Profile
from harness.plan.runs import Run
from harness.recipe import Scale
from harness.records.schema import Record


def read_scale(text: str) -> Scale:
    """The scale of that name. Raises RequestError for an unknown one."""
    for known in get_args(Scale):
        if text == known:
            return known
    raise RequestError(f"no scale '{text}'{nearest(text, get_args(Scale))}")


def read_device(text: str) -> str:
    """`auto` is cuda where a driver answers, else cpu. Raises RequestError for another word."""
    if text not in ("auto", "cpu", "cuda"):
        raise RequestError(f"no device '{text}'{nearest(text, ('auto', 'cpu', 'cuda'))}")
    found = hardware.has_gpu()
    if text == "cuda" and not found:
        raise RequestError("--device cuda, but no NVIDIA driver answers (`smol doctor` tells more)")
    return "cuda" if text != "cpu" and found else "cpu"


def device_profile(device: str) -> Profile:
    """How updates are cut on this machine's device."""
    return profiles.of(hardware.gpu_memory_bytes() if device == "cuda" else None)


def evidence(records: Sequence[Record], scale: Scale, device: str) -> Evidence:
    """What was timed at this scale on a device of this class, for fields that say `auto`."""
    from harness.evidence import launches

    name = hardware.device_class(device)
    return Evidence(
        compile_lines=lambda: launches.lines_of(records, scale, name),
        kernel_ratios=lambda: launches.kernel_ratios(records, scale, name),
    )


def default_jobs(device: str, runs: Sequence[Run]) -> int:
    """One run at a time on a GPU; on a CPU as many as its cores hold at the runs' threads."""
    if device == "cuda":
        return 1
    threads = max(run.config.train.threads for run in runs)
    return max(1, hardware.cores() // threads)
