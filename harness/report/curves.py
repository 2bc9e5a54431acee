"""The data of the figure `curves`: validation loss against budget, a line an arm.

Pure: records in, plain numbers out, so that a figure's data can be checked without drawing it.
May not import torch, seaborn or matplotlib.
"""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic import Field

from harness.config import Frozen, digest
from harness.evidence.sections import Section
from harness.stats.inference import t_interval


class Point(Frozen):
    """One validation of one seed."""

    seed: int
    tokens: int
    flops: float = Field(allow_inf_nan=True)
    """Active training FLOPs; NaN, which no panel draws, where they are not known."""
    val_loss: float


class Line(Frozen):
    """The stem of an arm, or one of its decay branches, over all seeds."""

    arm: str
    stage: str
    points: tuple[Point, ...]


class End(Frozen):
    """An arm at a horizon: mean over seeds, and the t interval where there is one."""

    arm: str
    horizon: str
    tokens: int
    flops: float = Field(allow_inf_nan=True)
    val_loss: float
    interval: tuple[float, float] | None
    n: int


HEADROOM = 0.35
"""Share of what is shown between the lowest value and the unigram model (or the highest endpoint)
that may be added above: the first updates' losses would flatten everything that is compared."""
MARGIN = 0.08
"""Share of the same left free beyond the outermost points."""


class Curves(Frozen):
    """All that the figure shows."""

    title: str
    arms: tuple[str, ...]
    lines: tuple[Line, ...]
    ends: tuple[End, ...]
    unigram: float | None

    @property
    def frame(self) -> tuple[float, float] | None:
        """Lowest and highest loss shown, nats/token: every endpoint, the unigram model, and of the
        lines what HEADROOM has room for. None where there is nothing to show."""
        points = [point.val_loss for line in self.lines for point in line.points]
        points += [bound for end in self.ends for bound in end.interval or (end.val_loss,)]
        if not points:
            return None
        bottom = min(points)
        tops = [end.interval[1] if end.interval else end.val_loss for end in self.ends]
        if self.unigram is not None:
            tops.append(self.unigram)
        top = max(tops, default=max(points))
        span = max(top - bottom, 1e-3)
        highest = max(points + tops) + MARGIN * span
        return bottom - MARGIN * span, min(top + HEADROOM * span, highest)

    @property
    def clipped(self) -> bool:
        """Whether points lie above the frame."""
        return self.frame is not None and any(
            point.val_loss > self.frame[1] for line in self.lines for point in line.points
        )

    @property
    def digest(self) -> str:
        """Of the data drawn."""
        return digest(json.loads(self.model_dump_json()))  # which has null for NaN


def curves(section: Section) -> Curves:
    """The figure's data. Every `ok` run is drawn; a decay begins where its stem stood."""
    group, question = section.group, section.group.question
    lines: dict[tuple[str, str], list[Point]] = {}
    known = {record.key: record for record in group.records}
    for record in group.records:
        if record.status != "ok" or record.repeat or record.arm not in question.arms:
            continue
        points = lines.setdefault((record.arm, record.stage), [])
        parent = known.get(record.parent or "")
        branch = [p for p in parent.validation if p.update <= record.first_update] if parent else []
        own = list(record.validation)
        if branch and (not own or branch[-1].update < own[0].update):
            own.insert(0, branch[-1])
        points += [
            Point(seed=record.seed, tokens=p.tokens, flops=_or_nan(p.flops), val_loss=p.val_loss)
            for p in own
        ]
    unigrams = [end.unigram for end in group.ends if end.unigram is not None]
    return Curves(
        title=section.title,
        arms=question.arms,
        lines=tuple(
            Line(arm=arm, stage=stage, points=tuple(points))
            for (arm, stage), points in lines.items()
            if points
        ),
        ends=tuple(
            End(**end)
            for arm in question.arms
            for horizon in question.horizons
            if (end := _end(section, arm, horizon))
        ),
        unigram=unigrams[0] if unigrams else None,
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _end(section: Section, arm: str, horizon: str) -> dict[str, Any] | None:
    rows = section.group.reached(arm, horizon)
    if not rows:
        return None
    value = t_interval([end.val_loss for end in rows])
    return {
        "arm": arm,
        "horizon": horizon,
        "tokens": rows[0].tokens,
        "flops": _or_nan(rows[0].flops),
        "val_loss": value.mean,
        "interval": value.interval,
        "n": value.n,
    }
