"""The view `curves`: validation loss against budget, a line an arm."""

from __future__ import annotations

from typing import Any

from harness.config import Frozen
from harness.evidence.sections import Section
from harness.report.draw import Figure, Shown, figure_of
from harness.stats.inference import t_interval


class CurvePoint(Frozen):
    """One validation of one seed."""

    seed: int
    tokens: int
    flops: float
    """Active training FLOPs."""
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
    flops: float
    val_loss: float
    interval: tuple[float, float] | None
    n: int


HEADROOM = 0.35
"""Share of what is shown between the lowest value and the unigram model (or the highest endpoint)
that may be added above: the first updates' losses would flatten everything that is compared."""
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
        + (" The first updates lie above the frame." if data.clipped else ""),
    )


def curves(section: Section) -> Curves:
    """The figure's data. Every `ok` run is drawn; a decay begins where its stem stood."""
    group, question = section.group, section.group.question
    lines: dict[tuple[str, str], list[CurvePoint]] = {}
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
            CurvePoint(seed=record.seed, tokens=p.tokens, flops=p.flops, val_loss=p.val_loss)
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


def _end(section: Section, arm: str, horizon: str) -> dict[str, Any] | None:
    rows = section.group.reached(arm, horizon)
    if not rows:
        return None
    value = t_interval([end.val_loss for end in rows])
    return {
        "arm": arm,
        "horizon": horizon,
        "tokens": rows[0].tokens,
        "flops": rows[0].flops,
        "val_loss": value.mean,
        "interval": value.interval,
        "n": value.n,
    }
