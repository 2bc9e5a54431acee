"""The learning-rate factor against updates. Pure arithmetic, but for a shape of one's own; may not
import torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from harness.config import ScheduleConfig, canonical
from models import own
from models.config import Part


def factor(schedule: ScheduleConfig, update: int, decay_start: int | None, end: int) -> float:
    """The factor on every peak learning rate for update number `update` (from 0).

    Warm-up is linear and its first update already moves: (update + 1) / warmup_updates.
    From `decay_start` on the factor falls to `final_fraction`, which the last update
    (`end` - 1) would reach one update later: linearly for `wsd`, along half a cosine for
    `cosine`, or as a `shape` of one's own says. `decay_start` None is a stem, which never falls.
    Raises `own.Fault` for a shape that gives no such number.
    """
    if update < schedule.warmup_updates:
        return (update + 1) / schedule.warmup_updates
    if decay_start is None or update < decay_start:
        return 1.0
    progress = (update - decay_start) / max(1, end - decay_start)
    if schedule.shape.name:
        return own_factor(schedule.shape, progress)
    if schedule.name == "cosine":
        progress = 0.5 * (1.0 - math.cos(math.pi * progress))
    return 1.0 - (1.0 - schedule.final_fraction) * progress


def own_factor(shape: Part, progress: float) -> float:
    """What a shape of one's own gives. Raises `own.Fault` for what is no factor."""
    part, call = _loaded(shape.name, shape.code, canonical(shape.settings))
    value: Any = call(progress)
    if not isinstance(value, int | float) or not 0.0 <= value < math.inf:
        raise own.Fault(
            f"{own.line_of(part)}: gives {value!r} at progress {progress:g}, not a factor"
        )
    return float(value)


@cache
def _loaded(name: str, code: str, settings: str) -> tuple[Any, Callable[[float], Any]]:
    part: Any = own.load(name, code)
    return part, own.called(part, own.plain(settings))
