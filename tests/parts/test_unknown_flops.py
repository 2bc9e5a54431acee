"""A card over runs of a part whose FLOPs torch cannot count: everything else stands in it."""

from __future__ import annotations

import math

from harness.evidence.sections import sections
from harness.records.schema import Record
from harness.report import draw
from harness.report.views import cost, curves, difference, loss
from tests.report.factory import campaign

ARM = "moe-active"


def unknown(record: Record) -> Record:
    if record.arm != ARM:
        return record
    return record.model_copy(update={
        "flops": None,
        "validation": tuple(p.model_copy(update={"flops": None}) for p in record.validation),
        "ends": tuple(end.model_copy(update={"flops": None}) for end in record.ends),
    })  # fmt: skip


def test_the_columns_say_not_known_and_the_rest_is_drawn():
    before, after = (
        next(s for s in sections(records) if s.recipe == "dense_vs_moe")
        for records in (campaign(), [unknown(record) for record in campaign()])
    )
    assert loss.tables(after) == loss.tables(before)
    (table,) = cost.tables(after)
    flops = {row.name: row.cells[0].text for row in table.rows}
    assert flops[ARM] == "not known"
    assert "not known" not in [text for arm, text in flops.items() if arm != ARM]
    assert all(table.rows for table in difference.tables(after))
    drawn = curves.curves(after)
    for line in drawn.lines:
        assert all(math.isnan(point.flops) == (line.arm == ARM) for point in line.points)
    assert drawn.digest != curves.curves(before).digest
    draw.load()
    assert draw.picture(drawn).startswith(b"\x89PNG")
