"""The page of answers says what the sections say, of every question and of nothing else."""

import re

from harness.evidence.sections import sections
from harness.records import store
from harness.report import answers, comparison, throughput
from harness.report.card import render
from tests.report import factory, test_throughput


def test_rows_are_the_questions_and_their_cells_those_of_the_sections():
    records = [*factory.campaign(), *test_throughput.campaign()]
    found = {section.recipe: section for section in sections(records)}
    table = answers.answers(list(found.values()))
    assert table is not None
    short = {row.name: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}
    short = {row: {c.name: cell for c, cell in cells.items()} for row, cells in short.items()}

    losses, rates = found["dense_vs_moe"], found["compile_breakeven"]
    assert set(short) == {
        f"{losses.name}:moe-active@tokens",
        *(f"{rates.name}:{arm}" for arm in ("blocks", "whole")),
    }  # and not moe-total, moe-160m or another horizon, which nobody asked for
    long = comparison.comparisons(losses).cells()
    row = short[f"{losses.name}:moe-active@tokens"]
    for name, column in (("loss_difference", "difference"), ("verdict", "verdict")):
        assert row[name] == long[f"{losses.name}.difference/moe-active@tokens/{column}"]
    long = throughput.throughput(rates).cells()
    for arm in ("blocks", "whole"):
        assert short[f"{rates.name}:{arm}"]["ratio"] == long[f"{rates.name}.throughput/{arm}/ratio"]


def test_nothing_asked_no_page():
    assert answers.answers(sections([])) is None
    (search,) = {s.recipe: s for s in sections(factory.search())}.values()
    assert answers.answers([search]) is None


def test_links_lead_to_headings(tmp_path):
    for record in factory.campaign():
        store.write(tmp_path, record)
    text = render(tmp_path)
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert links
    # GitHub's rule, told apart from ours: spaces become hyphens, of the rest only letters, digits,
    # hyphens and underscores stay.
    headings = [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]
    kept = {
        "".join("-" if c == " " else c for c in h if c.isalnum() or c in " -_") for h in headings
    }
    assert set(links) <= kept
