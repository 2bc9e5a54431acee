"""What strangers send, met by commands whose time and memory are measured: under a gigabyte and
thirty seconds, one line, nothing changed outside of the folder, nothing executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.survive import attacks, strangers
from tests.survive.fuzzing import Fuzz
from tests.survive.place import Warm


def told(warm: Warm, fuzz: Fuzz, root: Path, cases: list[strangers.Case]) -> None:
    found = strangers.tried(warm, fuzz, root, cases)
    print("\n" + "\n".join(found.lines()))
    assert found.faults == []


@pytest.mark.survive
def test_one_of_each_family(warm: Warm, fuzz: Fuzz, tmp_path: Path) -> None:
    chosen: dict[str, strangers.Case] = {}
    for case in strangers.every():
        chosen.setdefault(case.name.partition(":")[0], case)
    told(warm, fuzz, tmp_path, list(chosen.values()))


@pytest.mark.survive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", attacks.FAMILIES, ids=lambda family: family.__name__)
def test_all(warm: Warm, fuzz: Fuzz, tmp_path: Path, family) -> None:
    name = family.__name__.replace("_", " ")
    told(warm, fuzz, tmp_path, [c for c in strangers.every() if c.name.startswith(f"{name}:")])
