"""Every cell of the card is followed home, and a near miss is helped."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import RequestError
from harness.records import store
from harness.report import card
from harness.report.trace import Tracer, all_cells, trace
from tests.report.factory import broken, campaign, of, older, swap

VIEW = "dense_vs_moe.smoke.cpu.loss"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    records = campaign()
    lost = of(records, "moe-160m", 1, "decay-tokens")
    records = swap(records, lost, broken(lost, "oom", "out of memory"))
    for record in [*older(records), *(r.model_copy(update={"attempt": 2}) for r in records)]:
        store.write(folder, record)
    return folder


def test_every_number_of_the_cards_tables_is_traced(results: Path) -> None:
    """Addresses are composed as a reader would: from the printed card alone."""
    tracer = Tracer(results)
    cells = tracer.cells()
    seen = set()
    view, header = "", []
    for line in card.render(results).splitlines():
        if line.startswith("**`"):
            view, header = line.split("`")[1], []
        if not line.startswith("|") or line.startswith("| -"):
            continue
        texts = [text.strip() for text in line.strip("|").split(" | ")]
        if not header:
            header = texts
            continue
        for column, text in zip(header[1:], texts[1:], strict=True):
            address = f"{view}/{texts[0]}/{column}"
            answer = tracer.trace(address)
            first = answer.splitlines()[0]
            assert first.endswith(f" = {text}"), address
            name = first.removesuffix(f" = {text}")
            assert name in cells
            assert cells[name].records or text == "–"
            for path in cells[name].records:
                assert (results / path).is_file()
                assert path in answer
            assert "reproduce    smol run dense_vs_moe --scale smoke" in answer
            seen.add(name)
    assert seen == set(cells)
    assert len(seen) > 100


def test_an_answer_names_records_stems_configuration_and_interval(results: Path) -> None:
    answer = trace(results, f"{VIEW}/moe-active/val_loss@tokens")
    used = [r for r in campaign() if (r.arm, r.stage) == ("moe-active", "decay-tokens")]
    stems = [r for r in campaign() if (r.arm, r.stage) == ("moe-active", "stem")]
    before, after = answer.split("started from")
    for record in used:
        assert store.relative_path(record.recipe, record.arm, record.key, 2) in before
    for record in stems:
        assert store.relative_path(record.recipe, record.arm, record.key, 2) in after
    assert "n            3" in answer
    assert "95 % t interval" in answer
    assert "model.experts = 8" in after
    assert str(results) not in answer


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("dense_vs_moe.smoke.cpu.los/dense/df", f"no view .* did you mean '{VIEW}'"),
        (f"{VIEW}/moe-activ/val_loss@tokens", "no row 'moe-activ'; did you mean 'moe-active'"),
        (f"{VIEW}/dense/val_loss@token", "no column .*; did you mean 'val_loss@tokens'"),
        (f"{VIEW}/dense", "not view/row/column.*rows dense, moe-active.*columns total_param"),
        (VIEW, "not view/row/column"),
        ("", "no view ''"),
    ],
)
def test_a_near_miss_is_helped(results: Path, cell: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        trace(results, cell)
    assert "\n" not in str(caught.value)


def test_nothing_measured(tmp_path: Path) -> None:
    assert all_cells(tmp_path) == {}
    with pytest.raises(RequestError, match="nothing has been measured"):
        trace(tmp_path, f"{VIEW}/dense/val_loss@tokens")
