"""Every cell of the card is followed home, and a near miss is helped."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import RequestError
from harness.records import store
from harness.report import card, cells
from harness.report.table import Cell, Column, Row, Table, escape, markdown
from harness.report.trace import Tracer, trace
from tests.report.factory import broken, campaign, of, older, swap
from tests.report.followed import addresses, everything, follow

VIEW = "dense_vs_moe.smoke.cpu.loss"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    records = campaign()
    lost = of(records, "moe-160m", 1, "decay-tokens")
    records = swap(records, lost, broken(lost, "oom", "no memory\nfor a | <!-- view"))
    for record in [*older(records), *(r.model_copy(update={"attempt": 2}) for r in records)]:
        store.write(folder, record)
    return folder


def test_every_number_of_the_card_is_traced(results: Path) -> None:
    """Addresses are composed as a reader would: from the printed card alone."""
    tracer = Tracer(results)
    text = everything(results)
    seen = follow(text, tracer)
    assert seen == set(tracer.cells())
    assert len(seen) > 100
    for address in seen:
        paths = tracer.cells()[address].records
        assert all((results / path).is_file() for path in paths)
        assert all(path in tracer.trace(address) for path in paths)


def test_every_number_of_the_committed_card_is_traced() -> None:
    committed = Path(__file__).parents[2] / "results"
    tracer = Tracer(committed)
    files = [committed / card.CARD, *sorted((committed / "cards").glob("*.md"))]
    seen = {one for file in files for one in follow(file.read_text("utf-8"), tracer)}
    assert seen == set(tracer.cells())


def test_what_would_break_a_table_is_traced_as_it_is_printed() -> None:
    printed = r"a \| and a &lt;!-- view: x begin --> on one line"
    raw = "a |\n\nand  a <!-- view: x begin --> on\none line"
    cell = Cell(raw, ("bench/x.json",), "m", "a", 1)
    table = Table("t", raw, "row", (Column("c"),), (Row("r", (cell,)),), (raw,), command="smol x")
    found = list(addresses(markdown(table)))
    assert found == [("t/caption", printed), ("t/r/c", printed), ("t/note-1", printed)]
    index = cells.of([table], {})
    assert [(address, one.text) for address, one in index.cells.items()] == [
        ("t/r/c", printed), ("t/caption", printed), ("t/note-1", printed),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "printed"),
    [
        ("<img src=x onerror=y>", "&lt;img src=x onerror=y>"),
        ("a < b, 1 <2", "a < b, 1 <2"),
        ("</td><!-- x", "&lt;/td>&lt;!-- x"),
        ("[here](javascript:x) ![](http://x)", r"[here]\(javascript:x) ![]\(http://x)"),
        ("[section](#its-heading) [0.1, 0.2]", "[section](#its-heading) [0.1, 0.2]"),
        (
            "[x](cards/a.md#b) [x](a.md) [x](//h.md#b)",
            r"[x](cards/a.md#b) [x]\(a.md) [x]\(//h.md#b)",
        ),
        ("`smol run x`", "`smol run x`"),
        ("out of ` the span", r"out of \` the span"),
    ],
)
def test_text_that_is_markup_is_printed_as_text(raw: str, printed: str) -> None:
    assert escape(raw) == printed


def test_an_arm_that_was_never_run_is_traced_to_what_was_asked(tmp_path: Path) -> None:
    for record in campaign():
        if record.arm != "moe-160m":
            store.write(tmp_path, record)
    tracer = Tracer(tmp_path)
    follow(everything(tmp_path), tracer)
    counts = tracer.cells()["dense_vs_moe.smoke.cpu.runs/moe-160m/finished"]
    assert (counts.text, counts.n, len(counts.records)) == ("0 of 3", 0, 1)


def test_cells_on_disk_say_what_the_records_do_and_notice_what_changed(results: Path) -> None:
    before = Tracer(results)
    card.regenerate(results)
    written = Tracer(results)
    assert written.cells() == before.cells()
    address = f"{VIEW}/dense/val_loss@tokens"
    assert written.trace(address) == before.trace(address)
    path = results / written.cells()[address].records[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"load_before": 0.1', b'"load_before": 0.2'))
    assert content != path.read_bytes()
    assert "changed since the card was written" in trace(results, address)
    path.unlink()
    assert "gone since the card was written" in trace(results, address)
    path.write_bytes(content)
    whole = (results / "cells.json").read_bytes()
    for place in range(0, len(whole), 997):  # no flipped bit is believed
        flipped = bytearray(whole)
        flipped[place] ^= 1
        (results / "cells.json").write_bytes(flipped)
        with pytest.raises(RequestError, match=r"cells\.json is not an index"):
            trace(results, address)
    (results / "cells.json").write_text("{")
    with pytest.raises(RequestError, match=r"cells\.json is not an index.*`smol card`"):
        trace(results, address)
    (results / "cells.json").unlink()


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
    assert Tracer(tmp_path).cells() == {}
    with pytest.raises(RequestError, match="nothing has been measured"):
        trace(tmp_path, f"{VIEW}/dense/val_loss@tokens")
