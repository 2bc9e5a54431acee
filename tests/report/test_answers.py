"""The page of answers says what the sections say, of every question and of nothing else."""

import re

from harness.evidence.sections import sections
from harness.records import store
from harness.report.card import render
from harness.report.views import answers, difference, throughput
from tests.report import factory, test_throughput


def test_rows_are_the_questions_and_their_cells_those_of_the_sections():
    records = [*factory.campaign(), *factory.search(), *test_throughput.campaign()]
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
    long = difference.tables(losses)[0].cells()
    row = short[f"{losses.name}:moe-active@tokens"]
    shared = {"loss_difference": "difference", "verdict": "verdict", "detectable": "detectable"}
    for name, column in shared.items():
        assert row[name] == long[f"{losses.name}.difference/moe-active@tokens/{column}"]
    long = throughput.tables(rates)[0].cells()
    for arm in ("blocks", "whole"):
        for name in ("ratio", "verdict", "detectable"):
            cell = short[f"{rates.name}:{arm}"][name]
            assert cell == long[f"{rates.name}.throughput/{arm}/{name}"]


def test_what_is_not_comparable_has_no_number_and_no_difference_a_detectable_one():
    untimed = test_throughput.campaign(lambda run, place: {"campaign": run.arm})
    table = answers.answers(sections([*factory.campaign(), *untimed]))
    for row in table.rows:
        cells = {c.name: cell.text for c, cell in zip(table.columns, row.cells, strict=True)}
        assert cells["verdict"].startswith("not comparable")
        assert {cells[name] for name in ("loss_difference", "ratio", "detectable")} == {"–"}
    five = [*factory.campaign(scale="proxy", seeds=5), *factory.search("proxy")]
    same = {"dense": [6.0, 6.1, 6.2, 6.1, 6.0], "moe-active": [6.1, 6.1, 6.3, 6.1, 6.2]}
    (row,) = answers.answers(sections(factory.with_losses(five, same))).rows
    # The pairs' sd is 0.0837, and five pairs show 1.682 of it in 80 % of cases.
    assert [row.cells[place].text for place in (3, 7)] == ["0.1407", "no detectable difference"]


def test_nothing_asked_no_page():
    assert answers.answers(sections([])) is None
    (search,) = {s.recipe: s for s in sections(factory.search())}.values()
    assert answers.answers([search]) is None


def test_links_lead_to_headings(tmp_path):
    for record in factory.campaign():
        store.write(tmp_path, record)
    pages = render(tmp_path)
    text = pages["cards/dense_vs_moe.md"]
    links = re.findall(r"\]\(dense_vs_moe.md#([^)]+)\)", pages["cards/about-questions.md"])
    links += re.findall(r"\]\(cards/dense_vs_moe.md#([^)]+)\)", pages["MODEL_CARD.md"])
    assert len(links) == 2
    linked = re.findall(r"\]\((cards/[^)#]+)\)", pages["MODEL_CARD.md"])
    assert set(linked) == set(pages) - {"MODEL_CARD.md"}
    # GitHub's rule, told apart from ours: spaces become hyphens, of the rest only letters, digits,
    # hyphens and underscores stay.
    headings = [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]
    kept = {
        "".join("-" if c == " " else c for c in h if c.isalnum() or c in " -_") for h in headings
    }
    assert set(links) <= kept
