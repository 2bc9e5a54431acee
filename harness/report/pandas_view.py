"""Records as pandas frames, for notebooks: `runs` and `ends`. The card itself does without pandas.

    from pathlib import Path
    from harness.records import store
    from harness.report import pandas_view
    frame = pandas_view.ends(store.read_all(Path("results")))

May not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields

import pandas as pd

from harness.evidence import endpoints
from harness.evidence import sections as frame
from harness.records.schema import Record


def runs(records: Sequence[Record]) -> pd.DataFrame:
    """One row a record: what it is of, what it was run with, and how it ended."""
    return pd.DataFrame.from_records(
        [
            {
                "path": run.path,
                "recipe": run.record.recipe,
                "arm": run.record.arm,
                "seed": run.record.seed,
                "repeat": run.record.repeat,
                "stage": run.record.stage,
                "scale": run.record.scale,
                "device": run.record.device,
                "device_class": run.record.hardware.device_class,
                "status": run.record.status,
                "created": run.record.created,
                "tokens": run.record.tokens_done,
                "code": run.code,
                "software": run.software,
                "key": run.record.key,
                "attempt": run.record.attempt,
            }
            for run in frame.runs(records)
        ]
    )


def ends(records: Sequence[Record]) -> pd.DataFrame:
    """One row for each (recipe, scale, arm, seed, horizon) of each section's shown group."""
    columns = [field.name for field in fields(endpoints.Endpoint)]
    return pd.DataFrame.from_records(
        [
            {"section": section.name, **asdict(end)}
            for section in frame.sections(records)
            for end in section.group.ends
        ],
        columns=["section", *columns],
    )
