"""At equal wall clock: a difference only where the records allow one, else the reason."""

from __future__ import annotations

from typing import Any

from harness.evidence.sections import sections
from harness.records.schema import Record
from harness.report.views import clock
from tests.report import factory
from tests.report.factory import campaign


def rows(records: list[Record]) -> dict[str, list[str]]:
    section = next(s for s in sections(records) if s.recipe == "dense_vs_moe")
    (table,) = clock.tables(section)
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
    search = factory.search(device="cuda", hardware=records[0].hardware)
    taken = timed(records, {"dense": 100.0, "moe-active": 101.0, "moe-total": 150.0})
    found = rows([*taken, *search])
    assert len(found) == 2 * 3
    reference, seconds, difference, verdict = found["moe-active@wall-clock"]
    assert (reference, difference[0], difference[-3:]) == ("dense", "-", "(3)")
    assert seconds in ("100", "101")
    assert verdict == "better (preliminary, 3 pairs)"
    assert found["moe-active@dollars"] == found["moe-active@wall-clock"]
    assert "no horizon at which both" in found["moe-total@wall-clock"][-1]


def test_equal_seconds_lift_no_bar() -> None:
    """What every other table refuses is refused here too, and shows no number."""
    equal = {"dense": 100.0, "moe-active": 101.0, "moe-total": 101.0}
    barred = {
        "untuned": timed(campaign(device="cuda"), equal),
        "exploratory, --set optim.muon_lr=0.03": timed(
            campaign(device="cuda", sets={"optim.muon_lr": 0.03}), equal
        ),
        "2 of 3 pairs (both arms without seeds 2)": timed(campaign(device="cuda", seeds=2), equal),
        "2 of 3 pairs (moe-active without seeds 2)": [
            r for r in timed(campaign(device="cuda"), equal) if (r.arm, r.seed) != ("moe-active", 2)
        ],
    }
    for reason, records in barred.items():
        cells = rows(records)["moe-active@wall-clock"]
        assert cells[1:3] == ["–", "–"]
        assert cells[-1].startswith(f"not comparable: {reason}")
    # The recipe does not ask about it, at equal seconds as little as at equal tokens.
    assert rows(barred["untuned"])["moe-total@wall-clock"][-1] == "exploratory, no verdict"


def test_arms_of_two_machines_are_not_compared_by_the_clock() -> None:
    equal = {"dense": 100.0, "moe-active": 100.0}
    records = [
        r.model_copy(update={"hardware": r.hardware.model_copy(update={"gpu": "another"})})
        if r.arm == "moe-active"
        else r
        for r in timed(campaign(device="cuda"), equal)
    ]
    assert rows(records)["moe-active@wall-clock"][1:] == [
        "–", "–", "not comparable: the arms ran on different kinds of machine",
    ]  # fmt: skip
