"""The card's reference rows: complete, traced to their evaluations, and guarded."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.records import evaluation, store
from harness.records.evaluation import Evaluation
from harness.report import card
from harness.report.trace import Tracer
from harness.report.views import references
from tests.report.factory import campaign
from tests.report.scored import scored

RUN = "dense_vs_moe/dense/0/decay-tokens"
VIEW = "references.prose.00001111"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for record in campaign()[:2]:
        store.write(tmp_path, record)
    for one in (
        scored("released", nats=40.0),
        scored(RUN, nats=70.0, kind="run", digest="key0", unigram=1.4),
        scored(RUN, nats=60.0, kind="run", digest="key0", context=128, unigram=1.4),
        scored("released", nats=55.0, text="other", text_digest="9999888877776666"),
    ):
        evaluation.write(tmp_path, one)
    card.regenerate(tmp_path)
    return tmp_path


def test_best_first_with_the_unigram_where_it_falls(results: Path) -> None:
    prose = next(t for t in references.tables(evaluation.read_all(results)) if t.name == VIEW)
    assert [(row.name, row.cells[0].text) for row in prose.rows] == [
        ("released", "0.5771"),
        (f"{RUN}@128", "0.8656"),
        (f"{RUN}@64", "1.0099"),
        ("unigram", "1.4000"),
    ]
    assert prose.rows[0].cells[1].text == "0.9000 to 1.1000"
    assert prose.notes == ("released: a wheel, dequantized",)


def test_every_cell_is_traced_to_files_that_are_there(results: Path) -> None:
    tracer = Tracer(results)
    cells = {
        a: c for a, c in tracer.cells().items() if a.startswith("references.") and a.count("/") > 1
    }
    assert len(cells) == (4 + 1) * len(references.MEASURES)
    for address, cell in cells.items():
        answer = tracer.trace(address)
        assert answer.startswith(f"{address} = {cell.text}\n")
        assert "reproduce    smol eval" in answer
        assert cell.records
        for path in cell.records:
            assert path in answer
            assert (results / path).is_file()


def test_the_check_sees_an_edit_a_removal_and_a_new_score(results: Path) -> None:
    assert card.check(results) is None
    path = results / "cards/about-references.md"
    text = path.read_text()
    path.write_text(text.replace("0.5771", "0.5770"))
    assert "0.5770" in str(card.check(results))
    path.write_text(text)
    evaluation.write(results, scored("released", nats=41.0))
    assert "0.5915" in str(card.check(results))
    next((results / "evaluations").rglob("key0.128.json")).unlink()
    assert f"-| {RUN}@128" in str(card.check(results))
    card.regenerate(results)
    assert card.check(results) is None


def test_evaluations_without_records_have_a_card(tmp_path: Path) -> None:
    evaluation.write(tmp_path, scored("released"))
    pages = card.render(tmp_path)
    assert "# Reference rows" in pages["cards/about-references.md"]
    assert "Nothing has been measured" not in pages[card.CARD]


def test_arms_are_paired_on_the_same_documents() -> None:
    """The documents differ far more than the models: apart the intervals overlap, paired not."""
    hard = [10.0 + place for place in range(40)]
    sizes = tuple([50] * 40)

    def one(arm: str, nats: list[float], text: str = "prose") -> Evaluation:
        return scored(
            f"dense_vs_moe/{arm}/0/decay-tokens", kind="run", digest=arm, text=text,
            nats=sum(nats), bits_per_byte=sum(nats) / math.log(2) / 2000, bytes=2000, documents=40,
            document_nats=tuple(nats), document_bytes=sizes,
        )  # fmt: skip

    found = [
        one("dense", hard), one("moe", [n - 0.1 for n in hard]),
        one("dense", hard, "other"), one("moe", [n + 0.1 for n in hard], "other"),
        one("alone", hard, "third"), scored("released"),
    ]  # fmt: skip
    (table,) = references.paired(found, {"dense_vs_moe": "dense"})
    by = 0.1 / math.log(2) / 50
    assert [(row.name, row.cells[1].text, row.cells[2].text) for row in table.rows] == [
        ("dense_vs_moe/moe/0/decay-tokens@other", f"{by:+.4f}", f"{by:+.4f} to {by:+.4f}"),
        ("dense_vs_moe/moe/0/decay-tokens@prose", f"{-by:+.4f}", f"{-by:+.4f} to {-by:+.4f}"),
    ]
    assert references.paired(found, {}) == []
