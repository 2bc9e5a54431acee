"""What a check says of a claim. Only the words; no test is made here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "does not hold", "cannot be tested"]
Ground = Literal["arithmetic", "physics", "evidence", "records"]

HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
OPEN: Verdict = "cannot be tested"


@dataclass(frozen=True)
class Check:
    """One test of one claim."""

    ground: Ground
    text: str
    """What the claim implies, with its arithmetic."""
    verdict: Verdict
    readings: tuple[str, ...] = ()
    """Under which the claim would hold."""
    decisive: bool = False
    """An open question that sound arithmetic does not close."""
