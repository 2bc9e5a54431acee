"""How recipes are planned, run, measured and reported. Kept free of imports: the door is light."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from harness.report.frames import Results


def results(folder: str | Path = "results") -> Results:
    """The records of a folder as tidy pandas frames: `runs`, `endpoints`, `curves`, `updates` and
    `differences` (with verdicts), see `harness.report.frames.Results`.

    Raises `harness.errors.RequestError` where the folder has no records.
    """
    from harness.report.frames import Results

    return Results.read(folder)
