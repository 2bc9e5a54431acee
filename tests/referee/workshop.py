"""Tiny strangers' scripts, and the referee called on them."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.referee import arms, carrying, formats
from harness.referee.planning import RefereeRequest
from harness.referee.session import Outcome, Session

COMMAND = (sys.executable, "-S", "-E", "train.py", "{seed}")
"""Without site-packages a Python starts in milliseconds."""

HEAD = "import random, sys\nseed = int(sys.argv[1])\nrandom.seed(seed)\n"
GOOD = HEAD + "print(f'METRIC loss={2 + random.gauss(0, 0.01):.6f} lower')\n"
# Noise of its own: with that of GOOD every pair would differ by the same amount.
BETTER = (
    HEAD
    + "random.seed(100 + seed)\nprint(f'METRIC loss={1.5 + random.gauss(0, 0.01):.6f} lower')\n"
)


def arm(folder: Path, name: str, source: str, **files: str) -> str:
    """A folder with train.py and, by stem, further files."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "train.py").write_text(source)
    for stem, text in files.items():
        (place / f"{stem}.py").write_text(text)
    return str(place)


def session(folder: Path, *given: str, **changes: object) -> Session:
    """A referee in a folder, as the command makes one."""
    results, work = folder / "results", folder / "work"
    fields = dict(
        name="test", seeds=3, first_seed=0, budget=20.0, command=COMMAND,
        format=formats.named("metric"), metric=None, way=None, frozen=(), equal=(), shared=(),
        noise_floor=0, device="cpu", memory_limit=None, results=results, work=work, again=False,
    )  # fmt: skip
    request = RefereeRequest(**{**fields, **changes})  # type: ignore[arg-type]
    store = carrying.copies(work, request.name)
    taken = arms.take(given, store, shared=request.shared, ours=(results, work))
    return Session(request, taken, lambda text: None)


def judged(folder: Path, *given: str, **changes: object) -> Outcome:
    """Run and judge."""
    made = session(folder, *given, **changes)
    made.spend()
    return made.outcome()
