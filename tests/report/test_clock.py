"""At equal wall clock: a difference only where the records allow one, else the reason."""

from __future__ import annotations

from typing import Any

from harness.evidence.sections import sections
from harness.records.schema import Record
from harness.report import clock
from tests.report.factory import campaign


def rows(records: list[Record]) -> dict[str, list[str]]:
    (section,) = sections(records)
    table = clock.clock(section)
    assert table is not None
    return {row.name: [cell.text for cell in row.cells] for row in table.rows}


def timed(records: list[Record], seconds: dict[str, float]) -> list[Record]:
    """As timed runs; the endpoints of the arms named at so many seconds."""

    def changed(record: Record) -> Record:
        assert record.timing is not None
        update: dict[str, Any] = {"timing": record.timing.model_copy(update={"timed": True})}
        if record.arm in seconds:
            new = {"seconds": seconds[record.arm]}
            update["ends"] = tuple(end.model_copy(update=new) for end in record.ends)
        return record.model_copy(update=update)

    return [changed(record) for record in records]


def test_a_cpu_has_a_reason_and_no_number() -> None:
    found = rows(campaign())
    assert set(found) == {"wall-clock", "dollars"}
    for cells in found.values():
        assert cells[-1].startswith("not comparable: the seconds of a CPU")
        assert set(cells[:-1]) == {"–"}


def test_a_gpu_compares_timed_runs_at_equal_seconds_only() -> None:
    records = campaign(device="cuda")
    assert all("not timed" in cells[-1] for cells in rows(records).values())
    found = rows(timed(records, {"dense": 100.0, "moe-active": 101.0, "moe-total": 150.0}))
    assert len(found) == 2 * 3
    reference, seconds, difference, verdict = found["moe-active@wall-clock"]
    assert (reference, difference[0], difference[-3:]) == ("dense", "-", "(3)")
    assert seconds in ("100", "101")
    assert verdict.endswith("(preliminary, 3 pairs)")
    assert found["moe-active@dollars"] == found["moe-active@wall-clock"]
    assert "no horizon at which both" in found["moe-total@wall-clock"][-1]
