"""What a run survives: kills, full disks, flipped bits, other launchers. The short form of each;
the whole, which prints its figures, is `nox -s survive`."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.survive import deaths, flips, starts, together
from tests.survive.place import Reference
from tests.survive.tally import Tally

SEED = 20261128
whole = [pytest.mark.survive, pytest.mark.timeout(7200)]


def told(tally: Tally | flips.Flips) -> None:
    print("\n" + "\n".join(tally.lines()))
    assert tally.faults == []


@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=whole)])
def test_kills_at_random(reference: Reference, tmp_path: Path, kills: int) -> None:
    told(deaths.at_random(reference, tmp_path, kills, SEED + kills))


@pytest.mark.parametrize(
    "chosen", [deaths.WRITES[13:14], pytest.param(deaths.WRITES, marks=whole)], ids=len
)
def test_kills_inside_writes(reference: Reference, tmp_path: Path, chosen) -> None:
    told(deaths.inside_writes(reference, tmp_path, chosen))


@pytest.mark.parametrize(
    "chosen", [deaths.FULL[3:4], pytest.param(deaths.FULL, marks=whole)], ids=len
)
def test_full_disks(reference: Reference, tmp_path: Path, chosen) -> None:
    if not deaths.can_mount():
        pytest.skip("only who may mount a file system can fill one")
    told(deaths.full_disks(reference, tmp_path, chosen))


def test_the_launcher_is_killed_inside_a_long_update(reference: Reference, tmp_path: Path) -> None:
    told(starts.in_long_updates(reference, tmp_path, 1, slow=5.0))


@pytest.mark.survive
@pytest.mark.timeout(3600)
def test_the_launcher_is_killed_inside_an_update_that_computes_long(
    reference: Reference, tmp_path: Path
) -> None:
    told(starts.in_long_updates(starts.long_reference(reference, tmp_path / "long"), tmp_path, 4))


@pytest.mark.parametrize(
    "chosen",
    [pytest.param(starts.IMPORTS[1:2], marks=whole), pytest.param(starts.IMPORTS, marks=whole)],
    ids=len,
)
def test_the_launcher_is_killed_while_its_child_imports(
    reference: Reference, tmp_path: Path, chosen
) -> None:
    @functools.cache
    def references(kind: str) -> Reference:
        shared = kind == "shared"
        return starts.shared_reference(reference, tmp_path / kind) if shared else reference

    told(starts.in_imports(references, tmp_path, chosen))


SHORT = {"train tokens": 1, "rolling checkpoint": 1, "record": 1}


@pytest.mark.parametrize(
    "counts", [SHORT, pytest.param(flips.COUNTS, marks=whole)], ids=["3", "470"]
)
def test_flipped_bits(reference: Reference, tmp_path: Path, counts: dict[str, int]) -> None:
    told(flips.flipped(reference, tmp_path, counts, SEED))


@pytest.mark.parametrize(
    ("count", "kill"),
    [(3, False), pytest.param(8, False, marks=whole), pytest.param(8, True, marks=whole)],
)
def test_launchers_on_one_results_folder(
    reference: Reference, tmp_path: Path, count: int, kill: bool
) -> None:
    told(together.launchers(reference, tmp_path, count, kill=kill))
