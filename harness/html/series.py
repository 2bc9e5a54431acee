"""Loss against tokens, FLOPs, seconds or dollars as the page draws it, all arms of a section.

Means over seeds with the lowest and the highest, each seed by itself where they are few, endpoints
with their intervals, and the training loss behind.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from harness.evidence import machines
from harness.evidence.sections import Section
from harness.machine import devices
from harness.machine.hardware import peak_of
from harness.machine.prices import Price
from harness.records.schema import Record
from harness.report.views.curves import curves
from harness.stats.inference import t_interval

FEW = 12
"""Seeds up to which each is sent by itself, and arms up to which a section is drawn: a search, with
dozens, has its surface."""
BUDGETS = ("tokens", "flops", "seconds")


def series(section: Section, prices: Sequence[Price]) -> dict[str, Any] | None:
    """A section's curves as plain data; None where there is nothing to draw."""
    group, question = section.group, section.group.question
    if len(question.arms) > FEW or question.stages:
        return None
    lines: dict[tuple[str, str], list[tuple[int, list[dict[str, Any]]]]] = {}
    training = []
    for record in group.records:
        if record.status != "ok" or record.repeat or record.arm not in question.arms:
            continue
        points = _points(record, group.by_key.get(record.parent or ""))
        if points:
            lines.setdefault((record.arm, record.stage), []).append((record.seed, points))
        training += _training(record)
    if not lines:
        return None
    shown = curves(section)
    price = _price(section, prices)
    kinds = {machines.kind(record) for record in group.records}
    return {
        "id": section.name,
        "title": section.title,
        "arms": list(question.arms),
        "lines": [_line(arm, stage, of) for (arm, stage), of in lines.items()],
        "training": training if len(group.seeds) <= FEW else [],
        "ends": _ends(section),
        "frame": shown.frame,
        "cut": shown.cut,
        "price": price.value / 3600 if price else None,
        "price_note": price.text if price else _without(section),
        "seconds_note": "seconds of updates alone, not timed against each other"
        + (f"; on {len(kinds)} kinds of machine" if len(kinds) > 1 else ""),
    }


def _price(section: Section, prices: Sequence[Price]) -> Price | None:
    """Of an hour on the section's device; a CPU has none."""
    if not devices.of(section.device).rented:
        return None
    peak = peak_of(section.device_class)
    return next((price for price in prices if peak and price.device == peak.name), None)


def _without(section: Section) -> str:
    rented = devices.of(section.device).rented
    return f"no price of {section.device_class} is known" if rented else "a CPU run has no dollars"


def _points(record: Record, parent: Record | None) -> list[dict[str, Any]]:
    """A run's validations; a decay begins where its stem stood."""
    own = list(record.validation)
    branch = [p for p in parent.validation if p.update <= record.first_update] if parent else []
    if branch and (not own or branch[-1].update < own[0].update):
        own.insert(0, branch[-1])
    return [
        {
            "update": p.update, "tokens": p.tokens, "flops": p.flops, "seconds": p.seconds,
            "loss": p.val_loss, "bits": p.bits_per_byte,
        }
        for p in own
    ]  # fmt: skip


def _line(arm: str, stage: str, runs: Sequence[tuple[int, list[dict[str, Any]]]]) -> dict[str, Any]:
    """An arm's stage: a point where seeds were validated, the mean of those that were."""
    at: dict[int, list[dict[str, Any]]] = {}
    for _, points in runs:
        for point in points:
            at.setdefault(point["update"], []).append(point)
    places = [at[update] for update in sorted(at)]

    def each(field: str, how: Callable[[list[float]], float]) -> list[float | None]:
        return [_rounded(how, [p[field] for p in of if p[field] is not None]) for of in places]

    line: dict[str, Any] = {"arm": arm, "stage": stage}
    line |= {field: each(field, statistics.fmean) for field in BUDGETS}
    for field in ("loss", "bits"):
        line[field] = each(field, statistics.fmean)
        line[f"{field}_low"], line[f"{field}_high"] = each(field, min), each(field, max)
    if len(runs) <= FEW:
        line["seeds"] = [
            {
                "seed": seed,
                **{k: [p[k] for p in points] for k in (*BUDGETS, "loss", "bits")},
            }
            for seed, points in sorted(runs, key=lambda run: run[0])
        ]
    return line


def _rounded(how: Callable[[list[float]], float], values: list[float]) -> float | None:
    return float(f"{how(values):.7g}") if values else None


def _training(record: Record) -> list[dict[str, Any]]:
    """The training loss of one run, with the seconds and FLOPs that its endpoint implies."""
    if not record.training or not record.validation:
        return []
    last = record.validation[-1]
    share = [point.tokens / last.tokens for point in record.training]
    return [
        {
            "arm": record.arm, "seed": record.seed,
            "tokens": [point.tokens for point in record.training],
            "flops": [last.flops and _rounded(sum, [last.flops * s]) for s in share],
            "seconds": [_rounded(sum, [last.seconds * s]) for s in share],
            "loss": [round(point.loss, 4) for point in record.training],
        }
    ]  # fmt: skip


def _ends(section: Section) -> list[dict[str, Any]]:
    """Each arm at each horizon: mean over seeds, with its t interval."""
    found = []
    for arm in section.group.question.arms:
        for horizon in section.group.question.horizons:
            rows = section.group.reached(arm, horizon)
            for field, name in (("loss", "val_loss"), ("bits", "bits_per_byte")):
                values = [v for row in rows if (v := getattr(row, name)) is not None]
                if not values:
                    continue
                value = t_interval(values)
                found.append(
                    {
                        "arm": arm, "horizon": horizon, "of": field, "y": value.mean,
                        "interval": value.interval, "n": value.n, "tokens": rows[0].tokens,
                        "flops": rows[0].flops,
                        "seconds": statistics.fmean(row.seconds for row in rows),
                    }
                )  # fmt: skip
    return found
