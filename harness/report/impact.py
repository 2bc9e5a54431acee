"""The view `impact`: the hours that the runs took, by kind of machine. Energy was not measured.

May not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.evidence.machines import kind
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.tables import NONE, Column, Row, Table, plain


def impact(records: Sequence[Record]) -> Table:
    """A row a kind of machine: every record's hours, failed runs' included."""
    by_device: dict[str, list[Record]] = {}
    for record in records:
        by_device.setdefault(kind(record), []).append(record)
    rows = []
    for device in sorted(by_device):
        known = [r for r in by_device[device] if r.timing]
        paths = [path_of(r) for r in known]
        wall = math.fsum(r.timing.wall_seconds for r in known if r.timing) / 3600
        updates = math.fsum(r.timing.update_seconds_sum for r in known if r.timing) / 3600
        rows.append(
            Row(
                device,
                (
                    plain(f"{len(by_device[device]):,}", paths, "runs that left a record", "count"),
                    plain(f"{wall:.2f}", paths, "hours from start to record", "sum over runs"),
                    plain(f"{updates:.2f}", paths, "hours of updates alone", "sum over runs"),
                    plain(NONE, [], "energy, kWh", "nothing measures it"),
                    plain(NONE, [], "carbon emitted, kg of CO2 equivalent", "nothing measures it"),
                ),
            )
        )
    return Table(
        name="impact",
        caption="What all runs in the records took, whatever their end.",
        corner="hardware",
        columns=(
            Column("runs"),
            Column("hours", "h"),
            Column("update_hours", "h"),
            Column("energy", "kWh"),
            Column("carbon", "kg CO2eq"),
        ),
        rows=tuple(rows),
        notes=("Runs may have shared a machine: hours are of runs, not of machines.",),
        command="smol card",
    )
