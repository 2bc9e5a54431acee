"""The table `impact`: the hours that the runs took, by kind of machine. Energy was not measured."""

from __future__ import annotations

from collections.abc import Sequence

from harness.evidence.machines import kind
from harness.records.schema import Record
from harness.report.columns import Measure, count, of_records, tabulate, text, total
from harness.report.table import Table

OfKind = Sequence[Record]
"""The records of one kind of machine."""


def impact(records: Sequence[Record]) -> Table:
    """A row a kind of machine: every record's hours, failed runs' included."""
    by_kind: dict[str, list[Record]] = {}
    for record in records:
        by_kind.setdefault(kind(record), []).append(record)
    return tabulate(
        "impact",
        "What all runs in the records took, whatever their end.",
        "hardware",
        MEASURES,
        sorted(by_kind.items()),
        notes=("Runs may have shared a machine: hours are of runs, not of machines.",),
        command="smol card",
    )


def _hours(name: str, what: str, of: str) -> Measure[OfKind]:
    return Measure(
        name, what,
        lambda records: of_records(records, lambda r: r.timing and getattr(r.timing, of) / 3600),
        total("sum over runs", form="{:.2f}"), "h",
    )  # fmt: skip


def _unmeasured(name: str, what: str, unit: str) -> Measure[OfKind]:
    return Measure(name, what, lambda _: (), text("nothing measures it"), unit)


MEASURES: tuple[Measure[OfKind], ...] = (
    Measure(
        "runs", "runs that left a record", lambda records: of_records(records, lambda r: r.key),
        count(form="{:,}"),
    ),
    _hours("hours", "hours from start to record", "wall_seconds"),
    _hours("update_hours", "hours of updates alone", "update_seconds_sum"),
    _unmeasured("energy", "energy, kWh", "kWh"),
    _unmeasured("carbon", "carbon emitted, kg of CO2 equivalent", "kg CO2eq"),
)  # fmt: skip
