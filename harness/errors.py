"""The errors that the door turns into one line and an exit code. May import nothing of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(Exception):
    """The request was wrong: one clear line naming what, and the nearest right thing. Exit 2."""


class CheckFailed(Exception):
    """A check or a comparison says no. Exit 1."""


class RunFailed(Exception):
    """A run failed; its record says how. Exit 3."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known word, else the known words (at most twelve)."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"; known: {shown}" if known else ""
