"""The view `answers`: what the recipes asked beforehand, and what came of it, on one page.

The same cells as in the sections below it in the card, each with the way there. Pure: sections in,
a table out. May not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from harness.evidence import launches
from harness.evidence.sections import Section
from harness.report import comparison, throughput
from harness.report.tables import ABSENT, Cell, Column, Row, Table, plain


def heading(section: Section) -> str:
    """Of a section, as it stands in the card."""
    return f"{section.recipe} at {section.scale} scale: `{section.name}`"


def answers(found: Sequence[Section]) -> Table | None:
    """A row a pair that a recipe asked for; None where none asked."""
    rows = [row for section in found for row in (*_losses(section), *_rates(section))]
    if not rows:
        return None
    return Table(
        name="answers",
        caption=(
            "What the recipes asked before they ran, and the answers: an arm less its reference in "
            "validation loss, paired by seed, mean ± half-width of the t interval (number of "
            "pairs), below 0 the arm is better; or the arm's steady rate as a multiple of its "
            "reference's, [interval] (number of blocks). Verdict and interval are of one level, "
            "95 % for a question's pairs together. What is not comparable has no number here; "
            "detectable is what as many pairs would have shown in 80 % of cases, in the row's unit."
        ),
        corner="section:arm",
        columns=(
            Column("reference", left=True),
            Column("loss_difference", "nats/token"),
            Column("ratio", "of rates", left=True),
            Column("detectable", left=True),
            Column("verdict", left=True),
            Column("scope", left=True),
            Column("details", left=True),
        ),
        rows=tuple(rows),
    )


def _losses(section: Section) -> Iterator[Row]:
    if "comparison" not in section.group.question.views:
        return
    for one in comparison.differences(section):
        if not one.primary:
            continue
        yield Row(
            f"{section.name}:{one.name}",
            (
                comparison.reference_cell(one),
                _value(one),
                _absent("the question is of losses", one.records),
                comparison.detectable_cell(one),
                comparison.verdict_cell(section, one),
                comparison.scope_cell(section, one),
                _details(section, one.records),
            ),
        )


def _rates(section: Section) -> Iterator[Row]:
    question = section.group.question
    if "throughput" not in question.views:
        return
    for arm, versus in launches.compared(section).items():
        if (versus.reference, arm) not in question.pairs:
            continue
        ratio = throughput.ratio_cell(section, versus)
        yield Row(
            f"{section.name}:{arm}",
            (
                plain(
                    versus.reference, ratio.records, "the reference arm", "declared by the recipe",
                ),
                _absent("the question is of rates", ratio.records),
                ratio if versus.ratio else _absent("not comparable", ratio.records),
                throughput.detectable_cell(section, versus),
                throughput.verdict_cell(section, versus),
                plain(
                    f"{section.scale}, {section.device}", ratio.records, "what the row is true of",
                    "from the records",
                ),
                _details(section, ratio.records),
            ),
        )  # fmt: skip


def _value(one: comparison.Difference) -> Cell:
    if one.verdict is None or one.verdict.kind == "not comparable":
        return _absent("not comparable", one.records)
    return comparison.value_cell(one)


def _absent(why: str, records: Sequence[str]) -> Cell:
    return Cell(ABSENT, tuple(records), why, "none", 0)


def _details(section: Section, records: Sequence[str]) -> Cell:
    link = f"[{section.recipe} at {section.scale}](#{_anchor(heading(section))})"
    return plain(link, records, "the section of the card", "its heading")


def _anchor(text: str) -> str:
    """Of a heading, as GitHub makes it: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
