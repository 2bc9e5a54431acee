"""The learning-rate factor against updates. Pure arithmetic; may not import torch."""

from __future__ import annotations

import math

from harness.config import ScheduleConfig


def factor(schedule: ScheduleConfig, update: int, decay_start: int | None, end: int) -> float:
    """The factor on every peak learning rate for update number `update` (from 0).

    Warm-up is linear and its first update already moves: (update + 1) / warmup_updates.
    From `decay_start` on the factor falls to `final_fraction`, which the last update
    (`end` - 1) would reach one update later: linearly for `wsd`, along half a cosine for
    `cosine`. `decay_start` None is a stem, which never falls.
    """
    if update < schedule.warmup_updates:
        return (update + 1) / schedule.warmup_updates
    if decay_start is None or update < decay_start:
        return 1.0
    progress = (update - decay_start) / max(1, end - decay_start)
    if schedule.name == "cosine":
        progress = 0.5 * (1.0 - math.cos(math.pi * progress))
    return 1.0 - (1.0 - schedule.final_fraction) * progress
