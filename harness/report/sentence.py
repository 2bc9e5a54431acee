"""A verdict as a sentence: which arm is better, by how much, how sure, and where that is true.

Pure: a section's comparison in, text out.
"""

from __future__ import annotations

from harness.evidence.searches import UNTUNED
from harness.evidence.sections import Section
from harness.report.compare import Comparison, Metric, of_section
from harness.report.table import quantity
from harness.stats.inference import POWER
from harness.stats.tokens import UNRESOLVED

EXPLAINED = "no equal search has chosen the learning rate and weight decay of each"
"""What `untuned` means."""
UNITS: dict[Metric, str] = {"val_loss": "nats a token", "bits_per_byte": "bits a byte"}


def sentences(section: Section) -> list[str]:
    """One for each pair of the recipe's question, at its horizon."""
    question = section.group.question
    return [
        sentence(section, reference, arm, one)
        for reference, arm in question.pairs
        for one in of_section(section, reference, arm)
        if one.horizon in (None, question.at)
    ]


def sentence(section: Section, reference: str, arm: str, one: Comparison) -> str:
    """What came of `arm` against `reference`, with the scope that it is true of."""
    kind, _, more = one.verdict.partition(" (")
    if one.verdict.startswith("not comparable: "):
        why = one.verdict.partition(": ")[2]
        why = why.replace(UNTUNED, EXPLAINED) if why.startswith(UNTUNED) else why
        return f"{arm} and {reference} cannot be compared: {why}."
    difference = one.ratio if one.difference is None else one.difference
    if difference is None:
        return f"{arm} against {reference}: {one.verdict}."
    preliminary = f"; {more.rstrip(')')}" if more else f"; {_pairs(one.pairs)}"
    says = _of_rate if one.difference is None else _of_loss
    scope = _scope(section, arm, one.horizon)
    size = _size(one) if one.difference is not None else ""
    return f"{says(reference, arm, kind, one)}{preliminary}{size}; true at {scope}."


def _size(one: Comparison) -> str:
    """What the difference is worth, what it costs, and over what it is sure."""
    worth = f"; worth {one.worth}" if one.worth and not one.worth.startswith(UNRESOLVED) else ""
    outlay = f"; at {one.outlay}" if one.outlay else ""
    other = f"; second text {one.second}" if one.second else ""
    return f"{worth}{outlay}; interval over {one.noise_of}{other}"


def _of_loss(reference: str, arm: str, kind: str, one: Comparison) -> str:
    assert one.difference is not None
    size, half, unit = abs(one.difference), one.half_width, UNITS[one.metric]
    if kind in ("better", "worse"):
        span = _interval(one, f"{size - half:.4f} to {size + half:.4f}") if half is not None else ""
        return f"{arm} is {kind} than {reference} by {size:.4f} {unit}{span}"
    low_high = (one.difference - (half or 0.0), one.difference + (half or 0.0))
    span = _interval(one, "{:+.4f} to {:+.4f}".format(*low_high)) if half is not None else ""
    found = (
        f"; {one.detectable:.4f} would have been found in {POWER:.0%} of cases"
        if one.detectable is not None
        else ""
    )
    return f"{arm} against {reference}: {kind}: {one.difference:+.4f} {unit}{span}{found}"


def _of_rate(reference: str, arm: str, kind: str, one: Comparison) -> str:
    span = _interval(one, "{:.3f} to {:.3f}".format(*one.interval)) if one.interval else ""
    return f"{arm} trains {one.ratio:.3f} times as fast as {reference}{span}: {kind}"


def _interval(one: Comparison, span: str) -> str:
    return f", {100 * one.level:.4g} % interval {span}"


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"


def _scope(section: Section, arm: str, horizon: str | None) -> str:
    """Scale, size, length of training and device."""
    group = section.group
    known = [r for r in group.records if r.arm == arm]
    parts = [f"{section.scale} scale"]
    ends = group.reached(arm, horizon) if horizon else ()
    if known:
        size = known[-1].total_parameters
        parts.append(f"{quantity(size)} parameters")
        if ends:
            parts.append(f"{_ratio(ends[-1].tokens / size)} tokens a parameter")
    return ", ".join([*parts, section.device_class])


def _ratio(value: float) -> str:
    """Two digits of a number below ten, else its whole part."""
    return f"{value:,.0f}" if value >= 10.0 else f"{value:.2g}"
