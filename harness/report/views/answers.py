"""The table `answers`: what the recipes asked beforehand, and what came of it.

The same cells as in the sections, each with the way there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from harness.evidence import launches
from harness.evidence.differences import Difference, differences
from harness.evidence.launches import Against
from harness.evidence.sections import Section
from harness.report.columns import Block, Found, Measure, tabulate, text
from harness.report.table import ABSENT, Cell, Table
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
        "detectable is what as many pairs would have shown in 80 % of cases, in the row's unit.",
        "section:arm",
        COLUMNS,
        [],
        *blocks,
    )


def _column(name: str, unit: str = "", *, left: bool = True) -> Measure[Any]:
    return Measure(name, "", lambda _: (), text(""), unit, left)


COLUMNS = (
    _column("reference"),
    _column("loss_difference", "nats/token", left=False),
    _column("ratio", "of rates"),
    _column("detectable"),
    _column("verdict"),
    _column("scope"),
    _column("details"),
)
"""What the rows are said in; each question measures them in its own way."""


def _losses(section: Section) -> list[Block[Difference]]:
    asked = [(f"{section.name}:{one.name}", one) for one in differences(section) if one.primary]
    if "comparison" not in section.group.question.views or not asked:
        return []

    def said(one: Difference) -> bool:
        return one.verdict is not None and one.verdict.kind != "not comparable"

    def shown(one: Difference) -> float | None:
        return one.verdict.detectable if one.verdict and said(one) else None

    def behind(one: Difference) -> Sequence[str]:
        return one.records

    measures = [
        difference.REFERENCE,
        _if(said, _named("loss_difference", difference.DIFFERENCE), behind),
        _absent("ratio", "the question is of losses", behind),
        difference.detectable(shown),
        difference.verdict(section),
        difference.scope(section),
        _details(section, behind),
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

    def behind(versus: Against) -> Sequence[str]:
        return throughput.behind(section, versus)

    measures = [
        _said("reference", "the reference arm", "declared by the recipe",
              lambda versus: versus.reference, behind),
        _absent("loss_difference", "the question is of rates", behind),
        _if(lambda versus: versus.ratio is not None, throughput.ratio(section), behind),
        throughput.detectable(section),
        throughput.verdict(section),
        _said("scope", "what the row is true of", "from the records",
              lambda _: f"{section.scale}, {section.device}", behind),
        _details(section, behind),
    ]  # fmt: skip
    return [Block(asked, measures)]


Behind = Callable[[Any], Sequence[str]]
"""The files that stand behind a row."""


def _said(
    name: str, what: str, how: str, value: Callable[[Any], str], behind: Behind
) -> Measure[Any]:
    return Measure(name, what, lambda row: [(value(row), behind(row))], text(how))


def _named(name: str, measure: Measure[Any]) -> Measure[Any]:
    return Measure(name, measure.what, measure.values, measure.how, n=measure.n)


def _absent(name: str, why: str, behind: Behind) -> Measure[Any]:
    return Measure(name, why, lambda row: [(ABSENT, behind(row))], text("none"), n=lambda _: 0)


def _if(shown: Callable[[Any], bool], measure: Measure[Any], behind: Behind) -> Measure[Any]:
    """The same cell where it may be shown, else nothing."""
    absent = _absent(measure.name, "not comparable", behind)

    def values(row: Any) -> Found:
        return [(measure.cell(row) if shown(row) else absent.cell(row), ())]

    def how(values: Sequence[Cell], _: tuple[str, ...], __: str) -> Cell:
        return values[0]

    return Measure(measure.name, "", values, how)


def _details(section: Section, behind: Behind) -> Measure[Any]:
    shown = f"[{section.recipe} at {section.scale}]({link(section)})"
    return _said(
        "details", "the section of the recipe's page", "its heading", lambda _: shown, behind
    )


def link(section: Section, folder: str = "") -> str:
    """Where a section stands: on its recipe's page, whose folder is given from elsewhere."""
    return f"{folder}{section.recipe}.md#{_anchor(heading(section))}"


def _anchor(text: str) -> str:
    """Of a heading, as GitHub makes it: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
