"""The view `difference`: each arm less its reference, paired by seed, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.evidence.differences import Difference, differences
from harness.evidence.machines import kinds
from harness.evidence.sections import Section
from harness.report.columns import How, Measure, estimated, given, nothing, tabulate, text
from harness.report.table import ABSENT, Cell, Table, levels_note, plain, quantity
from harness.report.views.loss import LOSS_DIGITS
from harness.stats.inference import POWER, UNASKED, detectable_of, t_interval
from harness.stats.tokens import MORE

_LOSS = f"{{:.{LOSS_DIGITS}f}}"


def tables(section: Section) -> list[Table]:
    """A row for each arm and horizon; none where the recipe has a single arm."""
    question, found = section.group.question, differences(section)
    if not found:
        return []
    asked = ", ".join(f"is {arm} better than {reference}" for reference, arm in question.pairs)
    noise = section.noise
    return [
        tabulate(
            f"{section.name}.difference",
            (
                f"The question asked beforehand: {asked} in validation loss at horizon "
                f"`{question.at}`? "
                if asked
                else "No question was asked beforehand. "
            )
            + "Each row is an arm less its reference, paired by seed: mean ± half-width of the "
            "paired t interval (number of pairs). Below 0 the arm is better. Where nothing may be "
            "said of two arms there is no number.",
            "arm@horizon",
            measures(section),
            [(one.name, one) for one in found],
            notes=(
                "paired_sd: standard deviation of the pairs' differences, which the interval is "
                "made of; a pair shares its seed's data and much of its luck.",
                levels_note({one.name: one.verdict for one in found}),
                *(
                    [
                        f"noise_recipe: standard deviation of one arm of `{noise.name}` over "
                        "seeds of its own, not paired."
                    ]
                    if noise
                    else []
                ),
                "detectable: the true difference that this many pairs, spread as these are, would "
                f"show in {100 * POWER:g} % of cases"
                + (
                    ", at Holm's strictest step for a question of several pairs."
                    if len(question.pairs) > 1
                    else "."
                ),
                NOISE_NOTE,
                *([SECOND_NOTE] if any(e.second for e in section.group.ends) else []),
                WORTH_NOTE,
                MARGIN_NOTE,
                OUTLAY_NOTE,
                "scope: what the row is true of; no more follows from it.",
            ),
            command=section.group.command,
        )
    ]


def measures(section: Section) -> list[Measure[Difference]]:
    """The table's columns; those of them that the card's answers show have the same cells."""
    return [
        REFERENCE,
        DIFFERENCE,
        _of_pairs(
            "df", "degrees of freedom", _if_said(lambda one: one.value.df if one.value.n else None),
            text("pairs - 1; of an interval over documents too, Satterthwaite's",
                 form="{:.3g}", none=ABSENT),
        ),
        _of_pairs(
            "paired_sd", "standard deviation of the pairs' differences, nats a token",
            _if_said(lambda one: one.value.sd),
            text("sample standard deviation", form=_LOSS, none=ABSENT), "nats/token",
        ),
        INTERVAL_OF,
        *([_noise(section.noise)] if section.noise else []),
        DETECTABLE,
        *([SECOND, AGREES] if any(e.second for e in section.group.ends) else []),
        WORTH,
        MARGIN,
        OUTLAY,
        verdict(section),
        scope(section),
    ]  # fmt: skip


def _if_said(value: Callable[[Difference], Any]) -> Callable[[Difference], Any]:
    """None where nothing may be said of the pair."""
    return lambda one: value(one) if one.said else None


def _of_pairs(
    name: str,
    what: str | Callable[[Difference], str],
    value: Callable[[Difference], Any],
    how: How,
    unit: str = "",
    *,
    left: bool = False,
) -> Measure[Difference]:
    """A column whose value is of all pairs; their records stand behind it also where it is None."""

    def values(one: Difference) -> list[tuple[Any, tuple[str, ...]]]:
        return [(value(one), one.records)]

    def shown(values: Any, files: tuple[str, ...], what: str) -> Cell:
        return how([v for v in values if v is not None], files, what)

    return Measure(name, what, values, shown, unit, left, lambda one: one.value.n)


def _metric(one: Difference) -> str:
    return f"validation loss of {one.arm} less {one.against} at horizon {one.horizon}, nats a token"


REFERENCE: Measure[Difference] = Measure(
    "reference", "the reference arm", lambda one: [(one.against, one.records)],
    text("declared by the recipe"), left=True,
)  # fmt: skip
_KNOWN: Measure[Difference] = Measure(
    "difference", _metric, lambda one: [(one.value, one.records)],
    estimated("pairs", digits=LOSS_DIGITS, signed=True), "nats/token",
)  # fmt: skip
DIFFERENCE: Measure[Difference] = given(
    "difference",
    lambda one: (
        _KNOWN.cell(one) if one.said or not one.value.n else nothing(one.refused or "", one.records)
    ),
    "nats/token",
)
DETECTABLE: Measure[Difference] = _of_pairs(
    "detectable", f"difference detectable at {100 * POWER:g} % power, nats a token",
    _if_said(lambda one: one.verdict.detectable if one.verdict
             else detectable_of(one.value, one.value.level)),
    text("from the noncentral t distribution and the standard error of the difference",
         form=_LOSS, none=ABSENT),
    "nats/token",
)  # fmt: skip
"""The difference that the pairs would have shown."""
INTERVAL_OF: Measure[Difference] = _of_pairs(
    "noise_of", "what the interval is over, and the share of its variance that each has",
    _if_said(lambda one: one.value.over), text("two-way random effects", none=ABSENT),
    left=True,
)  # fmt: skip
_SECOND: Measure[Difference] = Measure(
    "second", lambda one: f"{_metric(one)}, on the second text",
    lambda one: [(one.second, one.records)],
    estimated("pairs", digits=LOSS_DIGITS, signed=True), "nats/token",
)  # fmt: skip
SECOND: Measure[Difference] = given(
    "second",
    lambda one: (
        _SECOND.cell(one)
        if one.said and one.second is not None
        else nothing(one.refused or "no second text", one.records)
    ),
    "nats/token",
)
AGREES: Measure[Difference] = _of_pairs(
    "agrees", "what the second text says of the difference's sign",
    _if_said(lambda one: one.agrees), text("by its interval", none=ABSENT), left=True,
)  # fmt: skip
SECOND_NOTE = (
    "second: the same difference on a text of another library, which nothing was trained on and no "
    "search has seen; agrees: its sign, where its interval leaves 0 out. The validation text is the"
    " one that searches chose by, on some of its documents."
)
WORTH: Measure[Difference] = _of_pairs(
    "worth", "the gain as training tokens, along the reference's curve",
    _if_said(lambda one: one.worth and one.worth.text),
    text("difference over the curve's slope in ln tokens, Fieller's interval", none=ABSENT),
    left=True,
)  # fmt: skip
MARGIN: Measure[Difference] = _of_pairs(
    "margin", "difference within which the arms are equivalent, nats a token",
    _if_said(lambda one: one.margin and one.margin.size),
    text("declared by the recipe, or from the curve's slope", form=_LOSS, none=ABSENT),
    "nats/token",
)  # fmt: skip
OUTLAY: Measure[Difference] = _of_pairs(
    "outlay", "the arm's minutes of updates and peak memory as multiples of the reference's",
    _if_said(lambda one: one.outlay and one.outlay.text),
    text("ratio of means over the pairs; of highest peaks", none=ABSENT), left=True,
)  # fmt: skip
NOISE_NOTE = (
    "noise_of: an interval is over seeds and documents, crossed, where records keep each "
    "document's score, with the share of its variance that each has; else over seeds alone: on "
    "other documents of the kind it may lie elsewhere. Tuning: what each arm's setting may be "
    "short of its optimum between the search's points, by parabolas through it and its neighbours, "
    "is inside the interval where it is over a twentieth of the variance."
)
WORTH_NOTE = (
    "worth: the gain as the tokens that the reference would have needed more (fewer: the arm is "
    "behind), exp(gain / slope) - 1 at both ends of its interval; slope: nats per ln token of the "
    "reference's stem between its last two validations before the horizon, paired by seed. Not "
    "resolved where the slope is not, no figure beyond a doubling."
)
MARGIN_NOTE = (
    "margin: differences smaller than this do not matter: declared by the recipe, else what "
    f"{100 * MORE:g} % more tokens bring by the same slope. What is not detectable is equivalent "
    "where two one-sided t tests at the verdict's level place it within ± margin."
)
OUTLAY_NOTE = (
    "outlay: what the arm took as multiples of its reference's, where both ran on one kind of "
    "machine; minutes of updates up to the horizon, highest peak memory."
)


def verdict(section: Section) -> Measure[Difference]:
    """What may be said of the difference."""
    asked, unasked = text(judged(section)), text("none", none=UNASKED)
    return _of_pairs(
        "verdict",
        lambda one: (
            f"verdict on: {_metric(one)}"
            if one.verdict
            else "outside the recipe's primary question"
        ),
        lambda one: one.verdict.text if one.verdict else None,
        lambda values, files, what: (asked if values else unasked)(values, files, what),
        left=True,
    )


def scope(section: Section) -> Measure[Difference]:
    """What the difference is true of."""
    return _of_pairs(
        "scope", "what the row is true of", lambda one: _scope(section, one),
        text("from the records"), left=True,
    )  # fmt: skip


def judged(section: Section) -> str:
    """How a verdict on a pair of the question comes about, as cells name it."""
    pairs = len(section.group.question.pairs)
    holm = f", Holm over {pairs} pairs" if pairs > 1 else ""
    return f"paired t test at 5 %{holm}"


def _noise(section: Section) -> Measure[Difference]:
    """The spread over seeds of the recipe that does nothing but vary them: one cell for all."""
    question = section.group.question
    arm = next(iter(question.arms), "")
    ends = section.group.reached(arm, question.at)
    spread = t_interval([end.val_loss for end in ends])
    said = ABSENT
    if spread.sd is not None:
        said = f"{spread.sd:.{LOSS_DIGITS}f} ({arm}, {spread.n} seeds, {quantity(ends[0].tokens)})"
    cell = plain(
        said, [end.path for end in ends],
        f"standard deviation of {arm}'s validation loss over seeds; tokens of training",
        "sample standard deviation", spread.n,
    )  # fmt: skip
    return given("noise_recipe", lambda _: cell, "nats/token", left=True)


def _scope(section: Section, one: Difference) -> str:
    """Scale, model size, tokens per parameter, device; and the machines, where arms ran on more
    than one kind, since kinds round differently."""
    records = section.group.records
    of_arm, of_reference = ([r for r in records if r.arm == a] for a in (one.arm, one.against))
    ends = section.group.reached(one.arm, one.horizon)
    if not ends or not of_arm:
        return f"{section.scale}, {section.device}"
    active, total = of_arm[0].active_parameters, of_arm[0].total_parameters
    tokens = ends[0].tokens
    size = quantity(total) if total == active else f"{quantity(total)} ({quantity(active)} active)"
    where = section.device
    if len(kinds([*of_arm, *of_reference])) > 1:
        ran = ((one.arm, of_arm), (one.against, of_reference))
        where += ", across machines: " + ", ".join(
            f"{a} on {' and '.join(kinds(r))}" for a, r in ran
        )
    return (
        f"{section.scale}, {size} parameters, {tokens / active:.2g} tokens/active parameter, "
        f"{where}"
    )
