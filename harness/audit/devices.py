"""What a device that a claim names can do at most: by its name in hardware.toml, by the driver's
product name, or by the family alone ("H100"), whose members differ.

A device that is none of them has no peak; one that was only nearly named is not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.audit.printed import Interval
from harness.machine.hardware import Peak, peak_of, peaks

_OTHER = re.compile(r"(?i)\b(?:ti|super|ultra|laptop|mobile|max-q|mig|d|nvl|ada)\b")
"""Words that make another product of a name."""
_MODEL = re.compile(r"[a-z]+\d+[a-z]*|\d{4}")
RESERVE = 1.024**3
"""Memory is sold in GB and made in GiB: up to that more is there."""


@dataclass(frozen=True)
class DevicePeak:
    """What a claim's device can do; of a family that of its best member."""

    peak: Peak
    flops: Interval
    """The peak: from the least to the most of the family."""


def find(name: str | None) -> DevicePeak | None:
    """The device of a claim; None where nothing is known of it."""
    if name is None:
        return None
    known = {key: peak for key, (_, peak) in peaks().items()}
    one = known.get(re.sub(r"[\s_]+", "-", name.strip().lower())) or peak_of(name)
    if one is not None:
        return DevicePeak(one, Interval(one.bf16_flops, one.bf16_flops, one.bf16_flops))
    if _OTHER.search(name):
        return None
    told = set(_MODEL.findall(name.lower()))
    family = [peak for key, peak in known.items() if told & set(key.split("-"))]
    if not family:
        return None
    flops = [peak.bf16_flops for peak in family]
    names = sorted(peak.name for peak in family)
    best = Peak(
        names[0] if len(names) == 1 else " or ".join(names),
        max(flops),
        max(peak.memory_bytes for peak in family),
        max(peak.bandwidth for peak in family),
        max(peak.watts for peak in family),
        "; ".join(sorted(peak.source for peak in family)),
    )
    return DevicePeak(best, Interval(min(flops), max(flops), max(flops)))
