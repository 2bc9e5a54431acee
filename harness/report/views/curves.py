"""The view `curves`: validation loss against budget, a line an arm."""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic import Field

from harness.config import Frozen, digest
from harness.evidence.sections import Section
from harness.report.draw import Figure, Shown, figure_of
from harness.stats.inference import t_interval


class CurvePoint(Frozen):
    """One validation of one seed."""

    seed: int
    tokens: int
    flops: float = Field(allow_inf_nan=True)
    """Active training FLOPs; NaN, which no panel draws, where they are not known."""
    val_loss: float


class CurveLine(Frozen):
    """The stem of an arm, or one of its decay branches, over all seeds."""

    arm: str
    stage: str
    points: tuple[CurvePoint, ...]


class CurveEnd(Frozen):
    """An arm at a horizon: mean over seeds, and the t interval where there is one."""

    arm: str
    horizon: str
    tokens: int
    flops: float = Field(allow_inf_nan=True)
    val_loss: float
    interval: tuple[float, float] | None
    n: int


HEADROOM = 0.6
"""Share of what the endpoints span that is shown above the highest of them: where the arms differ.
The first updates' losses, and the unigram model's, would flatten everything that is compared."""
LEAST = 0.1
"""Nats a token: less is not shown, however close the endpoints lie."""
MARGIN = 0.08
"""Share of the same left free beyond the outermost points."""


class Curves(Shown):
    """All that the figure shows."""

    arms: tuple[str, ...]
    lines: tuple[CurveLine, ...]
    ends: tuple[CurveEnd, ...]
    unigram: float | None

    @property
    def frame(self) -> tuple[float, float] | None:
        """Lowest and highest loss shown, nats/token: every endpoint with its interval, and what
        HEADROOM has room for. None where there is nothing to show."""
        points = [point.val_loss for line in self.lines for point in line.points]
        ends = [bound for end in self.ends for bound in end.interval or (end.val_loss,)]
        if not points and not ends:
            return None
        shown = ends or points
        bottom = min(points + ends)
        span = max(max(shown) - bottom, LEAST)
        highest = max(points + ends) + MARGIN * span
        return bottom - MARGIN * span, min(max(shown) + HEADROOM * span, highest)

    @property
    def cut(self) -> str:
        """What lies above the frame, as the caption says it; empty where all is shown."""
        if self.frame is None:
            return ""
        top = self.frame[1]
        above = [p.val_loss for line in self.lines for p in line.points if p.val_loss > top]
        said = [f"the first updates, from {max(above):.2f}"] if above else []
        if self.unigram is not None and self.unigram > top:
            said.append(f"the unigram model at {self.unigram:.2f}")
        return f"Cut at {top:.2f}: above it lie {' and '.join(said)}." if said else ""

    @property
    def digest(self) -> str:
        """The digest of the data drawn."""
        return digest(json.loads(self.model_dump_json()))  # which has null for NaN


def figure(section: Section) -> Figure | None:
    """Validation loss against tokens and against FLOPs."""
    data = curves(section)
    return figure_of(
        section,
        "curves",
        data,
        "validation loss against tokens and FLOPs",
        "Mean over seeds; bands from the lowest to the highest seed; dotted: learning rate "
        "decaying to a horizon; points: endpoints with their 95 % t interval."
        + (f" {data.cut}" if data.cut else ""),
    )


def curves(section: Section) -> Curves:
    """The figure's data. Every `ok` run is drawn; a decay begins where its stem stood."""
    group, question = section.group, section.group.question
    lines: dict[tuple[str, str], list[CurvePoint]] = {}
    for record in group.records:
        if record.status != "ok" or record.repeat or record.arm not in question.arms:
            continue
        points = lines.setdefault((record.arm, record.stage), [])
        parent = group.by_key.get(record.parent or "")
        branch = [p for p in parent.validation if p.update <= record.first_update] if parent else []
        own = list(record.validation)
        if branch and (not own or branch[-1].update < own[0].update):
            own.insert(0, branch[-1])
        points += [
            CurvePoint(
                seed=record.seed, tokens=p.tokens, flops=_or_nan(p.flops), val_loss=p.val_loss
            )
            for p in own
        ]
    unigrams = [end.unigram for end in group.ends if end.unigram is not None]
    return Curves(
        title=section.title,
        arms=question.arms,
        lines=tuple(
            CurveLine(arm=arm, stage=stage, points=tuple(points))
            for (arm, stage), points in lines.items()
            if points
        ),
        ends=tuple(
            CurveEnd(**end)
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
