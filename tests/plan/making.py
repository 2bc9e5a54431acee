"""Plans in one call, for tests that are about something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.config import DataConfig
from harness.plan import auto, runs
from harness.plan.grid import Arm
from harness.plan.profiles import Profile
from harness.plan.resolved import resolve
from harness.plan.runs import Plan, Where
from harness.recipe import Entry, Recipe, Scale


def make(
    entry: Entry,
    scale: Scale,
    device: str,
    *,
    tokenizer_digest: Callable[[DataConfig], str] = lambda _: "t",
    device_class: str = "d",
    world_size: int = 1,
    overrides: Mapping[str, Any] | None = None,
    profile: Profile | None = None,
    evidence: auto.Evidence = auto.NONE,
    **others: Any,
) -> Plan:
    """Resolved and planned."""
    found = resolve(entry, scale, overrides, profile, evidence)
    return runs.make(found, Where(device, device_class, world_size), tokenizer_digest, **others)


def grid(
    entry: Entry, scale: Scale, overrides: Mapping[str, Any], profile: Profile | None = None
) -> tuple[Recipe, Sequence[Arm]]:
    """The resolved recipe and its arms."""
    found = resolve(entry, scale, overrides, profile)
    return found.recipe, found.arms
