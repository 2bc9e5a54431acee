"""Of 40 planted changes of behaviour at least 39 are seen; of 20 pure refactors at least 19 pass.

Each edit is made in a copy of the packages, whose trajectories are then compared with those of the
code as it is.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.code import behaviour
from harness.code.provenance import ROOT
from harness.errors import CheckFailed
from tests.code.planted_behaviour import CHANGES, REFACTORS, Edit

AT_ONCE = 2


def test_the_plants_have_not_rotted() -> None:
    assert (len(CHANGES), len(REFACTORS)) == (40, 20)
    assert len(set(CHANGES + REFACTORS)) == 60
    gone = [
        (file, old)
        for file, old, _ in CHANGES + REFACTORS
        if (ROOT / file).read_text("utf-8").count(old) != 1
    ]
    assert gone == []


def moved(edit: Edit, folder: Path, known: behaviour.Committed) -> list[str]:
    """What an edit changes, of code that is copied there; a crash counts as a change."""
    for package in ("harness", "models"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    file, old, new = edit
    path = folder / file
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    try:
        return behaviour.differences(known, behaviour.compute(folder))
    except CheckFailed as error:
        return [str(error)]
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_planted_changes_are_seen_and_refactors_pass(tmp_path: Path) -> None:
    values = {name: tuple(found) for name, found in behaviour.compute().items()}
    known = behaviour.Committed(source_digest="as it is", values=values)

    def look(numbered: tuple[int, Edit]) -> list[str]:
        number, edit = numbered
        return moved(edit, tmp_path / str(number), known)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(look, enumerate(CHANGES + REFACTORS)))
    seen, passed = found[: len(CHANGES)], found[len(CHANGES) :]
    missed = [edit for edit, lines in zip(CHANGES, seen, strict=True) if not lines]
    alarms = [(edit, lines[:2]) for edit, lines in zip(REFACTORS, passed, strict=True) if lines]
    assert len(missed) <= 1, missed
    assert len(alarms) <= 1, alarms
