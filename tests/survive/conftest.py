"""The warm process, an undisturbed run, and a folder with one of everything, made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.survive import fuzzing
from tests.survive.fuzzing import Fuzz
from tests.survive.place import Place, Reference, Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with Warm() as process:
        yield process


@pytest.fixture(scope="session")
def reference(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference.made(Place(warm, tmp_path_factory.mktemp("undisturbed") / "place"))


@pytest.fixture(scope="session")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    return fuzzing.made(tmp_path_factory.mktemp("fuzz"))
