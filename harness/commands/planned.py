"""From the user's words to what a plan needs: scale, device, profile, evidence. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from harness.errors import RequestError, nearest
from harness.machine import devices, hardware
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
    """The device's name. Raises RequestError for an unknown or an absent one."""
    return devices.chosen(text).name


def device_profile(device: str) -> Profile:
    """How updates are cut on this machine's device."""
    gpu = devices.of(device).gpu()
    return profiles.of(gpu[1] if gpu else None)


def evidence(records: Sequence[Record], scale: Scale, device: str) -> Evidence:
    """What was timed at this scale on a device of this class, for fields that say `auto`."""
    from harness.evidence import launches

    name = devices.of(device).product()
    return Evidence(
        compile_lines=lambda: launches.lines_of(records, scale, name),
        kernel_ratios=lambda: launches.kernel_ratios(records, scale, name),
    )


def default_jobs(device: str, runs: Sequence[Run]) -> int:
    """As many runs at a time as the device holds at their threads."""
    threads = max(run.config.train.threads for run in runs)
    return devices.of(device).at_once(threads, hardware.cores())
