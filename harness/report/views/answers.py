"""The table `answers`: what the recipes asked beforehand, and what came of it.

The same cells as in the sections, each with the way there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from harness.evidence import launches
from harness.evidence.differences import Difference, differences
from harness.evidence.launches import Against
from harness.evidence.sections import Section
from harness.report.columns import Block, Measure, given, nothing, tabulate
from harness.report.table import Cell, Table, plain
from harness.report.views import difference, throughput


def heading(section: Section) -> str:
    """Of a section, as it stands in the card."""
    return f"{section.recipe} at {section.scale} scale: `{section.name}`"


def answers(found: Sequence[Section]) -> Table | None:
    """A row a pair that a recipe asked for; None where none asked."""
    blocks: list[Block[Any]] = []
    for section in found:
        blocks += [*_losses(section), *_rates(section)]
    if not blocks:
        return None
    return tabulate(
        "answers",
        "What the recipes asked before they ran, and the answers: an arm less its reference in "
        "validation loss, paired by seed, mean ± half-width of the t interval (number of "
        "pairs), below 0 the arm is better; or the arm's steady rate as a multiple of its "
        "reference's, [interval] (number of blocks). Verdict and interval are of one level, "
        "95 % for a question's pairs together. What is not comparable has no number here; "
        "detectable is what as many pairs would have shown in 80 % of cases, in the row's unit; "
        "worth is the gain as training tokens, outlay what the arm took as multiples of its "
        "reference's, noise_of what the interval is over.",
        "section:arm",
        COLUMNS,
        [],
        *blocks,
    )


COLUMNS: tuple[Measure[Any], ...] = tuple(
    given(name, lambda _: nothing("no question"), unit, left=left)
    for name, unit, left in (
        ("reference", "", True), ("loss_difference", "nats/token", False),
        ("ratio", "of rates", True), ("detectable", "", True), ("worth", "", True),
        ("outlay", "", True), ("noise_of", "", True), ("verdict", "", True),
        ("scope", "", True), ("details", "", True),
    )
)  # fmt: skip
"""What the rows are said in; each question measures them in its own way."""


def _losses(section: Section) -> list[Block[Difference]]:
    asked = [(f"{section.name}:{one.name}", one) for one in differences(section) if one.primary]
    if "comparison" not in section.group.question.views or not asked:
        return []
    measures: list[Measure[Difference]] = [
        difference.REFERENCE,
        given("loss_difference", difference.DIFFERENCE.cell),
        given("ratio", lambda one: nothing("the question is of losses", one.records)),
        difference.DETECTABLE,
        difference.WORTH,
        difference.OUTLAY,
        difference.INTERVAL_OF,
        difference.verdict(section),
        difference.scope(section),
        given("details", lambda one: _details(section, one.records)),
    ]
    return [Block(asked, measures)]


def _rates(section: Section) -> list[Block[Against]]:
    question = section.group.question
    asked = [
        (f"{section.name}:{arm}", versus)
        for arm, versus in launches.compared(section).items()
        if (versus.reference, arm) in question.pairs
    ]
    if "throughput" not in question.views or not asked:
        return []
    ratio = throughput.ratio(section)

    def behind(versus: Against) -> tuple[str, ...]:
        return throughput.behind(section, versus)

    def scope(versus: Against) -> Cell:
        where = f"{section.scale}, {section.device}"
        return plain(where, behind(versus), "what the row is true of", "from the records")

    measures: list[Measure[Against]] = [
        given(
            "reference",
            lambda versus: plain(
                versus.reference, behind(versus), "the reference arm", "declared by the recipe"
            ),
        ),
        given("loss_difference", lambda one: nothing("the question is of rates", behind(one))),
        given(
            "ratio",
            lambda one: ratio.cell(one) if one.ratio else nothing("not comparable", behind(one)),
        ),
        throughput.detectable(section),
        *(
            given(name, lambda one: nothing("the question is of rates", behind(one)))
            for name in ("worth", "outlay", "noise_of")
        ),
        throughput.verdict(section),
        given("scope", scope),
        given("details", lambda versus: _details(section, behind(versus))),
    ]
    return [Block(asked, measures)]


def _details(section: Section, files: Sequence[str]) -> Cell:
    shown = f"[{section.recipe} at {section.scale}]({link(section)})"
    return plain(shown, files, "the section of the recipe's page", "its heading")


def link(section: Section, folder: str = "") -> str:
    """Where a section stands: on its recipe's page, whose folder is given from elsewhere."""
    return f"{folder}{section.recipe}.md#{_anchor(heading(section))}"


def _anchor(text: str) -> str:
    """Of a heading, as GitHub makes it: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
